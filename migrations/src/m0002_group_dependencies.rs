//! What must be up before a group: another group, or one service of it.

step! {"
CREATE TABLE group_dependencies (
    group_id text NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    position integer NOT NULL,
    needs_name text NOT NULL,
    needs_instance text NOT NULL,
    needs_service text,
    PRIMARY KEY (group_id, position)
);
"}
