-- Sets the rows of runs that live running again, under a new run where the database lost ours; touches neither a run that somebody closed nor another's; answers per run.
WITH living AS MATERIALIZED (
    SELECT * FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[],
                         $8::int4[], $9::int8[], $10::int8[])
                  WITH ORDINALITY AS l (id, key, instance, node, host, started_at, "group", pid, pid_start, lease, place)
), held AS MATERIALIZED (
    SELECT s.key FROM {status} s WHERE s.key = ANY ($2::text[]) AND s.value IN ('needed', 'running', 'done')
    ORDER BY s.key FOR UPDATE SKIP LOCKED
), open AS MATERIALIZED (
    -- ours too is the one that an earlier repair opened whose answer was lost: the same claim, or the same process
    SELECT l.place, r.id, r.started_at,
           r.instance = l.instance AND r.node = l.node AND r.host = l.host
           AND (r.started_at = l.started_at OR coalesce(r.pid = l.pid AND r.pid_start = l.pid_start, false)) AS ours
    FROM living l JOIN {run} r ON r.key = l.key
    WHERE r.finished_at IS NULL
), closed AS MATERIALIZED (
    SELECT l.place FROM living l JOIN {run} r USING (id, key, instance, node, host, started_at)
    WHERE r.finished_at IS NOT NULL
), locked AS MATERIALIZED (
    SELECT l.place, l.key, r.id, r.started_at
    FROM held h JOIN living l USING (key) JOIN open o USING (place) JOIN {run} r ON r.id = o.id AND r.key = l.key
    WHERE o.ours AND r.finished_at IS NULL
    ORDER BY l.key FOR UPDATE OF r SKIP LOCKED
), opened AS (
    INSERT INTO {run} (key, instance, node, host, "group", pid, pid_start, started_at, alive_at, lease)
    SELECT l.key, l.instance, l.node, l.host, l."group", l.pid, l.pid_start, least(l.started_at, now()), now(),
           l.lease * interval '1 microsecond'
    FROM held h JOIN living l USING (key)
    WHERE NOT EXISTS (SELECT FROM open o WHERE o.place = l.place)
      AND NOT EXISTS (SELECT FROM closed c WHERE c.place = l.place)
    ORDER BY l.key
    ON CONFLICT (key) WHERE finished_at IS NULL DO NOTHING
    RETURNING id, key, started_at
), flipped AS (
    UPDATE {status} s SET value = 'running', updated_at = f.started_at
    FROM (
        SELECT l.place, l.key, l.id, l.started_at FROM locked l
        UNION ALL
        SELECT l.place, l.key, o.id, o.started_at FROM opened o JOIN living l USING (key)
    ) AS f
    WHERE s.key = f.key
    RETURNING f.place, f.id, f.started_at
)
SELECT now(), l.place,
       CASE WHEN f.place IS NOT NULL THEN 'running'
            WHEN o.ours THEN 'not now'
            WHEN c.place IS NOT NULL THEN 'closed'
            WHEN o.place IS NOT NULL THEN 'another'
            ELSE 'not now' END,
       f.id, f.started_at
FROM living l
LEFT JOIN flipped f USING (place)
LEFT JOIN open o USING (place)
LEFT JOIN closed c USING (place)
