//! The networks that a service joins.

step! {"
CREATE TABLE service_networks (
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    position integer NOT NULL,
    network text NOT NULL,
    aliases text NOT NULL,
    ipv4_address text,
    ipv6_address text,
    mac_address text,
    PRIMARY KEY (service_id, position)
);
"}
