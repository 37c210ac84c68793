-- Records the ends that finish.sql left: closed before, locked, without a status row, of a claim that a repair gave another number, or gone by a failover (then inserted); answers per run.
WITH ended AS MATERIALIZED (
    SELECT e.*, greatest(e.started_at, now() - e.ago * interval '1 microsecond') AS ended_at
    FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
                $9::text[], $10::int4[], $11::int4[], $12::float8[], $13::int8[], $14::int4[], $15::int8[], $16::int8[])
         WITH ORDINALITY AS e (id, key, instance, node, host, started_at, "group", outcome,
                               becomes, exit_code, signal, cpu_seconds, max_rss_kb, pid, pid_start, ago, place)
), held AS MATERIALIZED (
    SELECT s.key, s.value, s.updated_at FROM {status} s WHERE s.key = ANY ($2::text[])
    ORDER BY s.key FOR UPDATE SKIP LOCKED
), free AS MATERIALIZED (
    SELECT e.place, h.value, h.updated_at FROM ended e LEFT JOIN held h ON h.key = e.key
    WHERE h.key IS NOT NULL OR NOT EXISTS (SELECT FROM {status} s WHERE s.key = e.key)
), known AS MATERIALIZED (
    SELECT e.place,
           bool_or(r.finished_at IS NULL) AS open,
           bool_or(r.outcome = e.outcome AND r.exit_code IS NOT DISTINCT FROM e.exit_code
                   AND r.signal IS NOT DISTINCT FROM e.signal) AS same
    FROM ended e JOIN {run} r USING (key, started_at, instance, node, host)
    GROUP BY e.place
), locked AS MATERIALIZED (
    SELECT r.id, e.place
    FROM free f JOIN ended e USING (place) JOIN {run} r USING (key, started_at, instance, node, host)
    WHERE r.finished_at IS NULL
    ORDER BY e.key FOR UPDATE OF r SKIP LOCKED
), closed AS (
    UPDATE {run} r
    SET finished_at = e.ended_at, outcome = e.outcome, exit_code = e.exit_code, signal = e.signal,
        cpu_seconds = e.cpu_seconds, max_rss_kb = e.max_rss_kb,
        pid = coalesce(e.pid, r.pid), pid_start = coalesce(e.pid_start, r.pid_start)
    FROM locked l JOIN ended e USING (place)
    WHERE r.id = l.id
    RETURNING e.place
), gone AS MATERIALIZED (
    SELECT e.* FROM free f JOIN ended e USING (place)
    WHERE e.outcome <> 'lost' AND NOT EXISTS (SELECT FROM known k WHERE k.place = e.place)
), inserted AS (
    INSERT INTO {run} (key, instance, node, host, "group", pid, pid_start, started_at, alive_at, finished_at,
                       outcome, exit_code, signal, cpu_seconds, max_rss_kb)
    SELECT key, instance, node, host, "group", pid, pid_start, started_at, ended_at, ended_at,
           outcome, exit_code, signal, cpu_seconds, max_rss_kb
    FROM gone ORDER BY key
), flips AS MATERIALIZED (
    SELECT c.place FROM closed c JOIN free f USING (place) WHERE f.value = 'running'
    UNION ALL
    SELECT g.place FROM gone g JOIN free f USING (place)
    WHERE f.value = 'needed' AND g.becomes = 'done' AND coalesce(f.updated_at, 'epoch') < g.started_at
       OR f.value = 'running' AND f.updated_at = g.started_at
          AND NOT EXISTS (SELECT FROM {run} r WHERE r.key = g.key AND r.finished_at IS NULL)
), flipped AS (
    UPDATE {status} s
    SET value = e.becomes, updated_at = CASE e.becomes WHEN 'done' THEN e.ended_at ELSE s.updated_at END
    FROM flips JOIN ended e USING (place)
    WHERE s.key = e.key
    RETURNING e.place, s.updated_at
)
SELECT now(), e.place,
       CASE WHEN c.place IS NOT NULL OR k.same THEN 'recorded'
            WHEN k.open THEN 'not now'
            WHEN k.place IS NOT NULL THEN 'closed by another'
            WHEN f.place IS NULL THEN 'not now'
            ELSE 'recorded' END,
       w.updated_at
FROM ended e
LEFT JOIN closed c USING (place)
LEFT JOIN known k USING (place)
LEFT JOIN free f USING (place)
LEFT JOIN flipped w USING (place)
