//! What somebody paused, and what was seen to end by itself.

step! {"
ALTER TABLE services ADD COLUMN paused boolean NOT NULL DEFAULT false;
ALTER TABLE services ADD COLUMN ended_by_word text CHECK (ended_by_word IN ('clos', 'outside', 'itself'));
UPDATE services SET ended_by_word = ended_by;
ALTER TABLE services DROP COLUMN ended_by;
ALTER TABLE services RENAME COLUMN ended_by_word TO ended_by;
"}
