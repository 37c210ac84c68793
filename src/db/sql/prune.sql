-- Removes up to $2 finished runs older than $1 microseconds, but the last of each key; walks the index from key to key.
WITH RECURSIVE tenant AS (
    (SELECT key FROM {run} ORDER BY key LIMIT 1)
    UNION ALL
    SELECT (SELECT r.key FROM {run} r WHERE r.key > t.key ORDER BY r.key LIMIT 1) FROM tenant t WHERE t.key IS NOT NULL
), old AS MATERIALIZED (
    SELECT o.id
    FROM tenant t
    CROSS JOIN LATERAL (SELECT max(r.started_at) AS started_at FROM {run} r WHERE r.key = t.key) AS last
    CROSS JOIN LATERAL (
        SELECT r.id FROM {run} r
        WHERE r.key = t.key AND r.started_at < last.started_at
          AND r.started_at < now() - $1::int8 * interval '1 microsecond'
          AND r.finished_at < now() - $1::int8 * interval '1 microsecond'
        ORDER BY r.started_at LIMIT $2::int8
    ) AS o
    LIMIT $2::int8
), held AS MATERIALIZED (
    SELECT r.id FROM {run} r WHERE r.id = ANY (ARRAY(SELECT id FROM old)) FOR UPDATE SKIP LOCKED
)
DELETE FROM {run} r USING held h WHERE r.id = h.id
