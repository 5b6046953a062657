//! Free words to find a service by.

step! {"
CREATE TABLE service_tags (
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    position integer NOT NULL,
    tag text NOT NULL,
    PRIMARY KEY (service_id, position)
);
CREATE INDEX service_tags_by_tag ON service_tags (tag, service_id);
"}
