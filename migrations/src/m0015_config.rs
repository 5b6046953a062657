//! Settings of the installation, as text by key.

step! {"
CREATE TABLE config (
    key text NOT NULL PRIMARY KEY,
    value text NOT NULL
);
"}
