//! Variables of a service, in the order of its file.

step! {"
CREATE TABLE service_environment (
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    key text NOT NULL,
    position integer NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (service_id, key)
);
"}
