//! Leases: a host port has one owner.

step! {"
CREATE TABLE ports (
    host_port integer NOT NULL CHECK (host_port BETWEEN 1 AND 65535),
    protocol text NOT NULL CHECK (protocol IN ('tcp', 'udp', 'sctp')),
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    container_port integer NOT NULL CHECK (container_port BETWEEN 0 AND 65535),
    host_ip text NOT NULL,
    leased_at bigint NOT NULL,
    PRIMARY KEY (host_port, protocol)
);
CREATE INDEX ports_by_service ON ports (service_id);
"}
