//! The volumes without a name that a service's containers had, so that the next one gets them again.

step! {"
CREATE TABLE service_anonymous_volumes (
    service_id text NOT NULL REFERENCES services (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number > 0),
    target text NOT NULL,
    volume text NOT NULL,
    PRIMARY KEY (service_id, number, target)
);
"}
