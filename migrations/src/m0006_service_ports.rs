//! The ports that a definition asks for. What it has is in `ports`.

step! {"
CREATE TABLE service_ports (
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    position integer NOT NULL,
    container_port integer NOT NULL CHECK (container_port BETWEEN 0 AND 65535),
    host_port integer CHECK (host_port BETWEEN 0 AND 65535),
    host_port_end integer CHECK (host_port_end BETWEEN 0 AND 65535),
    host_ip text,
    protocol text NOT NULL CHECK (protocol IN ('tcp', 'udp', 'sctp')),
    PRIMARY KEY (service_id, position)
);
"}
