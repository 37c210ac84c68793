-- Creates the table of runs: inserted once, confirmed while open (no index holds what that changes), closed once.
CREATE TABLE {run} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,
    instance text NOT NULL,
    node text NOT NULL,
    host text NOT NULL,
    "group" text,
    pid int,
    pid_start bigint,
    started_at timestamptz NOT NULL,
    alive_at timestamptz NOT NULL,
    lease interval,
    finished_at timestamptz,
    outcome text CHECK (outcome IN ('ok', 'failed', 'killed', 'timeout', 'stopped', 'adopted', 'lost')),
    exit_code int,
    signal int,
    cpu_seconds float8,
    max_rss_kb bigint,
    CHECK ((finished_at IS NULL) = (outcome IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.05,
        autovacuum_analyze_threshold = 500, autovacuum_analyze_scale_factor = 0.05)
