//! Steps of operations; of one service, at most one is in progress.

step! {"
CREATE TABLE operation_steps (
    operation_id text NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    service_id text,
    service_name text,
    subject text NOT NULL,
    action text NOT NULL
        CHECK (action IN ('pull', 'build', 'network', 'volume', 'create', 'start', 'wait', 'stop', 'remove')),
    why text NOT NULL,
    needs text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')),
    reason text,
    message text NOT NULL,
    started_at bigint,
    ended_at bigint,
    PRIMARY KEY (operation_id, number)
);
CREATE INDEX operation_steps_by_service ON operation_steps (service_id, operation_id);
CREATE UNIQUE INDEX operation_steps_one_in_progress ON operation_steps (service_id)
    WHERE state = 'in_progress';
"}
