//! Other names by which a service is found: the ids that v1 gave.

step! {"
CREATE TABLE service_aliases (
    alias text NOT NULL PRIMARY KEY,
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE
);
CREATE INDEX service_aliases_by_service ON service_aliases (service_id);
"}
