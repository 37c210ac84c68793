-- Frees stale claims whose owner cannot be asked, if nothing has moved since they were read; a run of another node closes as lost.
WITH stale AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::int8[], $4::text[], $5::text[], $6::text[],
                         $7::timestamptz[], $8::int8[])
                  AS t (key, updated_at, id, instance, node, host, started_at, silent)
), held AS MATERIALIZED (
    SELECT t.*
    FROM stale t JOIN {status} s ON s.key = t.key
    WHERE s.value = 'running' AND greatest(coalesce(s.updated_at, 'epoch'), 'epoch') = t.updated_at
    ORDER BY s.key FOR UPDATE OF s SKIP LOCKED
), locked AS MATERIALIZED (
    SELECT r.id, h.key
    FROM held h JOIN {run} r ON r.id = h.id AND r.key = h.key AND r.started_at = h.started_at
                            AND r.instance = h.instance AND r.node = h.node AND r.host = h.host
    WHERE r.finished_at IS NULL AND r.alive_at < now() - h.silent * interval '1 microsecond'
    ORDER BY h.key FOR UPDATE OF r SKIP LOCKED
), closed AS (
    UPDATE {run} r SET finished_at = greatest(r.started_at, now()), outcome = 'lost'
    FROM locked l WHERE r.id = l.id
    RETURNING l.key
), freed AS (
    UPDATE {status} s SET value = 'needed'
    FROM (
        SELECT key FROM closed
        UNION ALL
        SELECT h.key FROM held h
        WHERE h.id IS NULL AND NOT EXISTS (SELECT FROM {run} r WHERE r.key = h.key AND r.finished_at IS NULL)
    ) AS f
    WHERE s.key = f.key
    RETURNING f.key
)
SELECT now(), f.key FROM (SELECT) AS always LEFT JOIN freed f ON true
