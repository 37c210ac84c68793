-- Records ends, the usual case: closes each run that is still the open one, flips its row; tells which were closed.
WITH ended AS MATERIALIZED (
    SELECT e.*, greatest(e.started_at, now() - e.ago * interval '1 microsecond') AS ended_at
    FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
                $9::text[], $10::int4[], $11::int4[], $12::float8[], $13::int8[], $14::int4[], $15::int8[], $16::int8[])
         WITH ORDINALITY AS e (id, key, instance, node, host, started_at, "group", outcome,
                               becomes, exit_code, signal, cpu_seconds, max_rss_kb, pid, pid_start, ago, place)
), held AS MATERIALIZED (
    SELECT s.key, s.value FROM {status} s WHERE s.key = ANY ($2::text[])
    ORDER BY s.key FOR UPDATE SKIP LOCKED
), locked AS MATERIALIZED (
    SELECT r.id, e.place, h.value
    FROM ended e JOIN held h ON h.key = e.key
    CROSS JOIN LATERAL ( -- by the number: an old snapshot keeps dead entries in the index of open runs
        SELECT r.id FROM {run} r
        WHERE r.id = e.id AND r.key = h.key AND r.started_at = e.started_at
          AND r.instance = e.instance AND r.node = e.node AND r.host = e.host
          AND coalesce(r.finished_at, 'infinity') = 'infinity'
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS r
), closed AS (
    UPDATE {run} r
    SET finished_at = e.ended_at, outcome = e.outcome, exit_code = e.exit_code, signal = e.signal,
        cpu_seconds = e.cpu_seconds, max_rss_kb = e.max_rss_kb,
        pid = coalesce(e.pid, r.pid), pid_start = coalesce(e.pid_start, r.pid_start)
    FROM locked l JOIN ended e USING (place)
    WHERE r.id = l.id
    RETURNING e.place, e.key, e.becomes, e.ended_at, l.value
), flipped AS (
    UPDATE {status} s
    SET value = c.becomes, updated_at = CASE c.becomes WHEN 'done' THEN c.ended_at ELSE s.updated_at END
    FROM closed c WHERE s.key = c.key AND c.value = 'running'
    RETURNING c.place, s.updated_at
)
SELECT now(), c.place, f.updated_at
FROM (SELECT) AS always LEFT JOIN closed c ON true LEFT JOIN flipped f USING (place)
