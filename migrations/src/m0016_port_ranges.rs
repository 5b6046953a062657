//! The host ports of a project, both ends included. No row at all means the defaults.

step! {"
CREATE TABLE port_ranges (
    position integer NOT NULL PRIMARY KEY,
    project text NOT NULL,
    first_port integer NOT NULL CHECK (first_port BETWEEN 1 AND 65535),
    last_port integer NOT NULL CHECK (last_port BETWEEN 1 AND 65535),
    CHECK (first_port <= last_port)
);
CREATE UNIQUE INDEX port_ranges_by_project ON port_ranges (project);
"}
