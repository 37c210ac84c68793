-- Claims the first of the rows offered that are needed, unlocked and without an open run; opens their runs.
WITH offered AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS o (key, "group", place)
), held AS MATERIALIZED (
    SELECT o.key, o."group", o.place
    FROM offered o JOIN {status} s ON s.key = o.key
    WHERE (s.value = 'needed' OR $4::bool AND s.value = 'done')
      AND (SELECT r.id FROM {run} r WHERE r.key = o.key AND r.finished_at IS NULL LIMIT 1) IS NULL
    ORDER BY o.place
    LIMIT $3::int8
    FOR UPDATE OF s SKIP LOCKED
), opened AS (
    INSERT INTO {run} (key, instance, node, host, "group", started_at, alive_at, lease)
    SELECT h.key, $5::text, $6::text, $7::text, h."group", now(), now(), $8::int8 * interval '1 microsecond'
    FROM held h ORDER BY h.place
    ON CONFLICT (key) WHERE finished_at IS NULL DO NOTHING
    RETURNING id, key
), flipped AS (
    UPDATE {status} s SET value = 'running', updated_at = now()
    FROM opened o WHERE s.key = o.key
    RETURNING o.id, o.key
)
SELECT now(), f.id, f.key FROM (SELECT) AS always LEFT JOIN flipped f ON true
