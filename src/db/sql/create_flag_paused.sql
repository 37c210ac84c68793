-- Finds who is paused among all who were ever asked for.
CREATE INDEX ON {flag} (key) WHERE paused_at IS NOT NULL
