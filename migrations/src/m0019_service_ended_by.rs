//! Who ended the last run of a service, where that is known: an end that was asked for is no failure.

step! {"
ALTER TABLE services ADD COLUMN ended_by text CHECK (ended_by IN ('clos', 'outside'));
"}
