//! What is mounted into a service.

step! {"
CREATE TABLE service_volumes (
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    position integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('bind', 'volume', 'tmpfs')),
    source text,
    target text NOT NULL,
    read_only boolean NOT NULL,
    create_host_path boolean NOT NULL,
    propagation text,
    selinux text,
    no_copy boolean NOT NULL,
    subpath text,
    size bigint,
    mode bigint,
    PRIMARY KEY (service_id, position)
);
"}
