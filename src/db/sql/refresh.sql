-- Confirms that runs live, and tells of each whether it is still open; touches no status row and no index.
WITH alive AS MATERIALIZED (
    SELECT * FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::int4[], $8::int8[])
                  WITH ORDINALITY AS a (id, key, instance, node, host, started_at, pid, pid_start, place)
), known AS MATERIALIZED (
    SELECT a.place, r.finished_at IS NULL AS open
    FROM alive a JOIN {run} r USING (id, key, instance, node, host, started_at)
), locked AS MATERIALIZED (
    SELECT r.id, a.place, a.pid, a.pid_start
    FROM alive a JOIN {run} r USING (id, key, instance, node, host, started_at)
    WHERE r.finished_at IS NULL
    ORDER BY a.key FOR UPDATE OF r SKIP LOCKED
), confirmed AS (
    UPDATE {run} r
    SET alive_at = greatest(r.alive_at, now()), pid = coalesce(l.pid, r.pid), pid_start = coalesce(l.pid_start, r.pid_start)
    FROM locked l WHERE r.id = l.id
    RETURNING l.place
)
SELECT now(), a.place,
       CASE WHEN c.place IS NOT NULL THEN 'confirmed'
            WHEN k.open THEN 'not now'
            WHEN k.place IS NOT NULL THEN 'closed'
            ELSE 'gone' END
FROM alive a LEFT JOIN known k USING (place) LEFT JOIN confirmed c USING (place)
