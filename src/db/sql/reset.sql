-- Makes done rows whose slot has come needed; updated_at stays, for it orders the queue.
WITH due AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::timestamptz[]) AS d (key, slot)
), held AS MATERIALIZED (
    SELECT d.key
    FROM due d JOIN {status} s ON s.key = d.key
    WHERE s.value = 'done' AND greatest(coalesce(s.updated_at, 'epoch'), 'epoch') < d.slot AND d.slot <= now()
    ORDER BY s.key FOR UPDATE OF s SKIP LOCKED
), reset AS (
    UPDATE {status} s SET value = 'needed' FROM held h WHERE s.key = h.key RETURNING h.key
)
SELECT now(), r.key FROM (SELECT) AS always LEFT JOIN reset r ON true
