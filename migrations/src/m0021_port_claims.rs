//! A claim is an address, a port and a protocol: one number at two addresses is two claims.

step! {"
CREATE TABLE ports_new (
    host_port integer NOT NULL CHECK (host_port BETWEEN 1 AND 65535),
    protocol text NOT NULL CHECK (protocol IN ('tcp', 'udp', 'sctp')),
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    container_port integer NOT NULL CHECK (container_port BETWEEN 0 AND 65535),
    host_ip text NOT NULL,
    leased_at bigint NOT NULL,
    CONSTRAINT ports_by_claim PRIMARY KEY (host_port, protocol, host_ip)
);
INSERT INTO ports_new (host_port, protocol, service_id, container_port, host_ip, leased_at)
    SELECT host_port, protocol, service_id, container_port, host_ip, leased_at FROM ports;
DROP TABLE ports;
ALTER TABLE ports_new RENAME TO ports;
CREATE INDEX ports_by_service ON ports (service_id);
"}
