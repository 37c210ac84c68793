-- Claims as claim.sql does, within the limits of the cluster ($9) and of each group ($10); 0 is no limit.
WITH offered AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS o (key, "group", place)
), open AS MATERIALIZED (
    SELECT r."group" FROM {run} r WHERE r.finished_at IS NULL AND r.instance = $5::text
), taken AS MATERIALIZED (
    SELECT g."group", sum(g.runs) AS runs
    FROM (
        SELECT o."group", count(*) AS runs FROM open o WHERE o."group" IS NOT NULL GROUP BY o."group"
        UNION ALL
        SELECT * FROM unnest($11::text[], $12::int8[]) AS f ("group", runs)
    ) AS g
    GROUP BY g."group"
), room AS MATERIALIZED (
    SELECT CASE WHEN $9::int8 = 0 THEN $3::int8 ELSE
        least($3::int8, greatest(0, $9::int8 - (SELECT count(*) FROM open) - (
            SELECT count(*) FROM {status} s
            WHERE s.value = 'running' AND s.key LIKE $13::text
              AND NOT EXISTS (SELECT FROM {run} r WHERE r.key = s.key AND r.finished_at IS NULL))))
        END AS places
), held AS MATERIALIZED (
    SELECT o.key, o."group", o.place
    FROM offered o JOIN {status} s ON s.key = o.key
    WHERE (s.value = 'needed' OR $4::bool AND s.value = 'done')
      AND (SELECT r.id FROM {run} r WHERE r.key = o.key AND r.finished_at IS NULL LIMIT 1) IS NULL
      AND (SELECT places FROM room) > 0
    ORDER BY o.place
    FOR UPDATE OF s SKIP LOCKED
), chosen AS MATERIALIZED (
    SELECT h.key, h."group", h.place
    FROM (SELECT *, row_number() OVER (PARTITION BY "group" ORDER BY place) AS nth FROM held) AS h
    LEFT JOIN taken t ON t."group" = h."group"
    WHERE $10::int8 = 0 OR h."group" IS NULL OR h.nth + coalesce(t.runs, 0) <= $10::int8
    ORDER BY h.place
    LIMIT (SELECT places FROM room)
), opened AS (
    INSERT INTO {run} (key, instance, node, host, "group", started_at, alive_at, lease)
    SELECT c.key, $5::text, $6::text, $7::text, c."group", now(), now(), $8::int8 * interval '1 microsecond'
    FROM chosen c ORDER BY c.place
    ON CONFLICT (key) WHERE finished_at IS NULL DO NOTHING
    RETURNING id, key
), flipped AS (
    UPDATE {status} s SET value = 'running', updated_at = now()
    FROM opened o WHERE s.key = o.key
    RETURNING o.id, o.key
)
SELECT now(), f.id, f.key FROM (SELECT) AS always LEFT JOIN flipped f ON true
