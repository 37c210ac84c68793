-- Takes claims back whose child could not be started: deletes each run that is still open, makes its row needed, `updated_at` kept; answers per run.
WITH unstarted AS MATERIALIZED (
    SELECT * FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
                  WITH ORDINALITY AS u (id, key, instance, node, host, started_at, place)
), held AS MATERIALIZED (
    SELECT s.key, s.value FROM {status} s WHERE s.key = ANY ($2::text[])
    ORDER BY s.key FOR UPDATE SKIP LOCKED
), free AS MATERIALIZED (
    SELECT u.*, h.value FROM unstarted u LEFT JOIN held h ON h.key = u.key
    WHERE h.key IS NOT NULL OR NOT EXISTS (SELECT FROM {status} s WHERE s.key = u.key)
), known AS MATERIALIZED (
    SELECT u.place FROM unstarted u JOIN {run} r USING (id, key, instance, node, host, started_at)
    WHERE r.finished_at IS NULL
), locked AS MATERIALIZED (
    SELECT r.id, f.place, f.key, f.value
    FROM free f JOIN {run} r USING (id, key, instance, node, host, started_at)
    WHERE r.finished_at IS NULL
    ORDER BY f.key FOR UPDATE OF r SKIP LOCKED
), removed AS (
    DELETE FROM {run} r USING locked l WHERE r.id = l.id
    RETURNING l.place, l.key, l.value
), flipped AS (
    UPDATE {status} s SET value = 'needed'
    FROM removed x WHERE s.key = x.key AND x.value = 'running'
    RETURNING x.place, s.updated_at
)
SELECT now(), u.place, x.place IS NOT NULL OR k.place IS NULL, w.updated_at
FROM unstarted u
LEFT JOIN known k USING (place)
LEFT JOIN removed x USING (place)
LEFT JOIN flipped w USING (place)
