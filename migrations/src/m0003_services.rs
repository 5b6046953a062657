//! A row for each service of a group: what it is, what was asked for, what was
//! seen. Parts of its definition that have tables of their own are not in `definition`.
//!
//! There is no index on the times: one on `updated_at` would be written with every change of
//! state, and SQLite prefers to sort the few thousand rows there are.

step! {"
CREATE TABLE services (
    id text NOT NULL PRIMARY KEY,
    group_id text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    name text NOT NULL,
    start_order integer NOT NULL,
    description text NOT NULL,
    search text NOT NULL,
    definition text NOT NULL,
    generation bigint NOT NULL,
    desired text NOT NULL CHECK (desired IN ('running', 'stopped', 'absent')),
    observed text NOT NULL
        CHECK (observed IN ('absent', 'created', 'running', 'exited', 'restarting', 'unknown')),
    health text NOT NULL CHECK (health IN ('none', 'starting', 'healthy', 'unhealthy')),
    exit_code integer,
    observed_at bigint,
    container_id text,
    step_action text
        CHECK (step_action IN ('pull', 'build', 'network', 'volume', 'create', 'start', 'wait', 'stop', 'remove')),
    status text NOT NULL
        CHECK (status IN ('running', 'stopped', 'failed', 'starting', 'stopping', 'unhealthy')),
    status_reason text,
    status_detail text NOT NULL,
    restart_times text NOT NULL,
    started_at bigint,
    stopped_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((observed = 'exited') = (exit_code IS NOT NULL)),
    CHECK (health = 'none' OR observed = 'running')
);
CREATE UNIQUE INDEX services_by_name ON services (group_id, name);
CREATE INDEX services_by_order ON services (group_id, start_order, name);
CREATE INDEX services_by_status ON services (status);
"}
