-- Lets a row be created by ON CONFLICT and never twice.
CREATE UNIQUE INDEX ON {status} (key)
