-- Makes done rows needed and marks them and needed ones as asked for by hand, first in the queue; tells who listens.
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::text[]) WITH ORDINALITY AS a (key, place)
), held AS MATERIALIZED (
    SELECT s.key, s.value FROM {status} s WHERE s.key = ANY ($1::text[])
    ORDER BY s.key FOR UPDATE SKIP LOCKED
), flipped AS (
    UPDATE {status} s SET value = 'needed' FROM held h WHERE s.key = h.key AND h.value = 'done'
), flagged AS (
    INSERT INTO {flag} (key, requested_at)
    SELECT h.key, now() FROM held h WHERE h.value IN ('done', 'needed') ORDER BY h.key
    ON CONFLICT (key) DO UPDATE SET requested_at = excluded.requested_at
    RETURNING key
)
SELECT a.place, coalesce(h.value, s.value)::text, h.key IS NOT NULL, s.key IS NOT NULL,
       CASE WHEN f.key IS NOT NULL THEN pg_notify('tenantcron', f.key) END IS NOT NULL
FROM asked a
LEFT JOIN held h ON h.key = a.key
LEFT JOIN flagged f ON f.key = a.key
LEFT JOIN {status} s ON s.key = a.key
