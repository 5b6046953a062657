//! The journal of events, and its head: the one row that gives sequences out.

step! {"
CREATE TABLE journal_head (
    id integer NOT NULL PRIMARY KEY CHECK (id = 1),
    seq bigint NOT NULL CHECK (seq >= 0)
);
INSERT INTO journal_head (id, seq) VALUES (1, 0);
CREATE TABLE journal (
    seq bigint NOT NULL PRIMARY KEY CHECK (seq > 0),
    kind text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('debug', 'info', 'warning', 'error', 'critical')),
    service_id text,
    group_name text,
    group_instance text,
    operation_id text,
    data text NOT NULL,
    at bigint NOT NULL,
    CHECK ((group_name IS NULL) = (group_instance IS NULL))
);
CREATE INDEX journal_by_service ON journal (service_id, seq);
CREATE INDEX journal_by_group ON journal (group_name, seq);
CREATE INDEX journal_by_operation ON journal (operation_id, seq);
"}
