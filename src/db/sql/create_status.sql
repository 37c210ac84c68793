-- Creates the status table: one row a tenant, often updated (hence the room left in each page), never large.
CREATE TABLE {status} (
    key text PRIMARY KEY,
    value text NOT NULL DEFAULT 'needed' CHECK (value IN ('needed', 'running', 'done')),
    updated_at timestamptz NOT NULL DEFAULT 'epoch',
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.1)
