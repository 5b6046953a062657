//! A row for each copy of a group; the base copy has the empty instance.

step! {"
CREATE TABLE groups (
    id text NOT NULL PRIMARY KEY,
    name text NOT NULL,
    instance text NOT NULL,
    definition text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE UNIQUE INDEX groups_by_name ON groups (name, instance);
"}
