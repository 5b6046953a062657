//! What a service's containers were made from, by the hash of it, so that a plan can say what changed.

step! {"
CREATE TABLE service_made_from (
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    spec_hash text NOT NULL,
    made_from text NOT NULL,
    PRIMARY KEY (service_id, spec_hash)
);
"}
