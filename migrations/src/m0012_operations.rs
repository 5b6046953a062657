//! Operations. They outlive the group that they were about, so they carry its name.

step! {"
CREATE TABLE operations (
    id text NOT NULL PRIMARY KEY,
    verb text NOT NULL CHECK (verb IN ('up', 'start', 'stop', 'restart', 'recreate', 'down')),
    group_id text NOT NULL,
    group_name text NOT NULL,
    group_instance text NOT NULL,
    service_id text,
    state text NOT NULL CHECK (state IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')),
    reason text,
    message text NOT NULL,
    policy text NOT NULL CHECK (policy IN ('leave', 'undo')),
    cancel_requested boolean NOT NULL,
    leftovers text NOT NULL,
    request_id text NOT NULL,
    created_at bigint NOT NULL,
    started_at bigint,
    ended_at bigint
);
CREATE INDEX operations_by_created_at ON operations (created_at, id);
CREATE INDEX operations_by_group ON operations (group_name, group_instance, created_at, id);
CREATE INDEX operations_by_state ON operations (state, created_at, id);
CREATE INDEX operations_by_service ON operations (service_id);
"}
