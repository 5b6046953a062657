//! More words for what a step does: `rename` first, the others are reserved.

step! {"
ALTER TABLE services ADD COLUMN step_word text
    CHECK (step_word IN ('pull', 'build', 'network', 'volume', 'create', 'start', 'wait', 'stop', 'remove',
        'rename', 'hook', 'pause', 'unpause', 'kill'));
UPDATE services SET step_word = step_action;
ALTER TABLE services DROP COLUMN step_action;
ALTER TABLE services RENAME COLUMN step_word TO step_action;
CREATE TABLE operation_steps_anew (
    operation_id text NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    service_id text,
    service_name text,
    subject text NOT NULL,
    action text NOT NULL
        CHECK (action IN ('pull', 'build', 'network', 'volume', 'create', 'start', 'wait', 'stop', 'remove',
            'rename', 'hook', 'pause', 'unpause', 'kill')),
    why text NOT NULL,
    needs text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')),
    reason text,
    message text NOT NULL,
    started_at bigint,
    ended_at bigint,
    PRIMARY KEY (operation_id, number)
);
INSERT INTO operation_steps_anew
    (operation_id, number, service_id, service_name, subject, action, why, needs, state, reason, message, started_at, ended_at)
    SELECT operation_id, number, service_id, service_name, subject, action, why, needs, state, reason, message, started_at, ended_at
    FROM operation_steps;
DROP TABLE operation_steps;
ALTER TABLE operation_steps_anew RENAME TO operation_steps;
CREATE INDEX operation_steps_by_service ON operation_steps (service_id, operation_id);
CREATE UNIQUE INDEX operation_steps_one_in_progress ON operation_steps (service_id)
    WHERE state = 'in_progress';
"}
