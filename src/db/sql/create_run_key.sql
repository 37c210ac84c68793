-- Finds the last run of a key, and a run by what identifies it beside its id.
CREATE INDEX ON {run} (key, started_at)
