-- What finish.sql and claim.sql say, in one statement and hence one message and one transaction: slots that became free are claimed with the ends that freed them.
-- Whoever changes one changes the other; the tests of both run both ways.
WITH ended AS MATERIALIZED (
    SELECT e.*, greatest(e.started_at, now() - e.ago * interval '1 microsecond') AS ended_at
    FROM unnest($1::int8[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::int4[], $7::int4[],
                $8::float8[], $9::int8[], $10::int4[], $11::int8[], $12::int8[])
         WITH ORDINALITY AS e (id, key, started_at, outcome, becomes, exit_code, signal,
                               cpu_seconds, max_rss_kb, pid, pid_start, ago, place)
), held AS MATERIALIZED (
    SELECT s.key, s.value FROM {status} s WHERE s.key = ANY ($2::text[])
    ORDER BY s.key FOR UPDATE SKIP LOCKED
), locked AS MATERIALIZED (
    SELECT e.*, h.value
    FROM held h JOIN ended e ON e.key = h.key
    CROSS JOIN LATERAL ( -- by the number, whatever the planner believes of the indexes
        SELECT FROM {run} r
        WHERE r.id = e.id AND r.key = h.key AND r.started_at = e.started_at
          AND r.instance = $13::text AND r.node = $14::text AND r.host = $15::text
          AND coalesce(r.finished_at, 'infinity') = 'infinity'
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS r
), closed AS (
    UPDATE {run} r
    SET finished_at = l.ended_at, outcome = l.outcome, exit_code = l.exit_code, signal = l.signal,
        cpu_seconds = l.cpu_seconds, max_rss_kb = l.max_rss_kb,
        pid = coalesce(l.pid, r.pid), pid_start = coalesce(l.pid_start, r.pid_start)
    FROM locked l
    WHERE r.id = l.id
    RETURNING l.place, l.key, l.becomes, l.ended_at, l.value
), flipped AS (
    UPDATE {status} s
    SET value = c.becomes, updated_at = CASE c.becomes WHEN 'done' THEN c.ended_at ELSE s.updated_at END
    FROM closed c WHERE s.key = c.key AND c.value = 'running'
    RETURNING c.place, s.updated_at
), free AS MATERIALIZED (
    SELECT o.key, o."group", o.place
    FROM unnest($16::text[], $17::text[]) WITH ORDINALITY AS o (key, "group", place)
    JOIN {status} s ON s.key = o.key
    WHERE (s.value = 'needed' OR $19::bool AND s.value = 'done')
      AND (SELECT r.id FROM {run} r WHERE r.key = o.key AND r.finished_at IS NULL LIMIT 1) IS NULL
    ORDER BY o.place
    LIMIT $18::int8
    FOR UPDATE OF s SKIP LOCKED
), opened AS (
    INSERT INTO {run} (key, instance, node, host, "group", started_at, alive_at, lease)
    SELECT f.key, $13::text, $14::text, $15::text, f."group", now(), now(), $20::int8 * interval '1 microsecond'
    FROM free f ORDER BY f.place
    ON CONFLICT (key) WHERE finished_at IS NULL DO NOTHING
    RETURNING id, key
), claimed AS (
    UPDATE {status} s SET value = 'running', updated_at = now()
    FROM opened o WHERE s.key = o.key
    RETURNING o.id, o.key
)
SELECT now(), c.place, f.updated_at, NULL::int8, NULL::text FROM closed c LEFT JOIN flipped f USING (place)
UNION ALL
SELECT now(), NULL, NULL, id, key FROM claimed
