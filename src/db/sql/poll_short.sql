-- Reads what is not done: this instance's rows of another value, those paused, those with an open run, and every open run of this instance and node, in one snapshot.
-- No key is asked for. LATERAL with OFFSET 0 keeps the planner, which knows little of the small tables, from reading a
-- whole one for a handful of keys. $4 is the mark of an earlier look, before which everything had ended: while it is the
-- same no transaction of this server that wrote has ended since, so no row is another than it was and none is read.
WITH open AS MATERIALIZED (
    SELECT * FROM {run} r
    WHERE r.finished_at IS NULL AND (r.instance = $2::text AND r.node = $3::text OR r.key LIKE $1::text)
), here AS MATERIALIZED (
    SELECT m.mark, coalesce(m.mark = $4::text, false) AS same
    FROM (
        SELECT CASE WHEN txid_snapshot_xmin(s) = txid_snapshot_xmax(s)
                    THEN concat_ws(' ', txid_snapshot_xmax(s), pg_postmaster_start_time()) END AS mark
        FROM txid_current_snapshot() s
    ) AS m
), looked AS (
    SELECT s.key, s.value::text AS value, s.updated_at, {created_at} AS created_at
    FROM {status} s
    WHERE s.value IS DISTINCT FROM 'done' AND s.key LIKE $1::text AND NOT (SELECT same FROM here)
    UNION ALL
    SELECT s.key, s.value::text, s.updated_at, s.created_at
    FROM (
        SELECT f.key FROM {flag} f
        WHERE f.paused_at IS NOT NULL AND f.key LIKE $1::text AND NOT (SELECT same FROM here)
        UNION SELECT o.key FROM open o
    ) AS k CROSS JOIN LATERAL (
        SELECT s.key, s.value, s.updated_at, {created_at} AS created_at FROM {status} s WHERE s.key = k.key OFFSET 0
    ) AS s
    WHERE s.value = 'done' OR (SELECT same FROM here)
)
SELECT now(), s.key, true, coalesce(s.value, ''), greatest(coalesce(s.updated_at, 'epoch'), 'epoch'), s.created_at,
       f.paused_at IS NOT NULL, f.requested_at,
       o.id, o.key, o.instance, o.node, o.host, o."group", o.pid, o.pid_start, o.started_at, o.alive_at,
       round(extract(epoch FROM o.lease) * 1000000)::int8, current_setting('transaction_read_only')::bool,
       (SELECT mark FROM here)
FROM (SELECT) AS always LEFT JOIN (
    looked s LEFT JOIN LATERAL (
        SELECT f.paused_at, f.requested_at FROM {flag} f WHERE f.key = s.key OFFSET 0
    ) AS f ON true
    FULL JOIN open o ON o.key = s.key
) ON true
