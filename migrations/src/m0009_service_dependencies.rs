//! What must be up before a service, by name within its group.

step! {"
CREATE TABLE service_dependencies (
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    position integer NOT NULL,
    needs text NOT NULL,
    condition text NOT NULL CHECK (condition IN ('started', 'healthy', 'completed')),
    required boolean NOT NULL,
    restart boolean NOT NULL,
    PRIMARY KEY (service_id, position)
);
"}
