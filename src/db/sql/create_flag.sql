-- Creates the table of what operators asked; it exists so that a foreign status table need not be altered.
CREATE TABLE {flag} (
    key text PRIMARY KEY,
    paused_at timestamptz,
    paused_by text,
    reason text,
    requested_at timestamptz
) WITH (fillfactor = 50)
