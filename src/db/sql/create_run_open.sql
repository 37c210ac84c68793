-- Lets the database itself refuse a second open run of a key.
CREATE UNIQUE INDEX ON {run} (key) WHERE finished_at IS NULL
