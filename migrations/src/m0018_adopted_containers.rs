//! Containers that Docker Compose made and that were taken over. They carry none of our labels until they are
//! recreated, so what makes them ours is this table.

step! {"
CREATE TABLE adopted_containers (
    container_id text NOT NULL PRIMARY KEY,
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    config_hash text NOT NULL
);
CREATE INDEX adopted_containers_by_service ON adopted_containers (service_id);
"}
