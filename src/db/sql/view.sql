-- Reads what `status` shows: the rows asked for, their flags, their open runs and their last finished runs.
SELECT now(), k.key, s.key IS NOT NULL, coalesce(s.value::text, ''),
       greatest(coalesce(s.updated_at, 'epoch'), 'epoch'), {created_at},
       f.paused_at IS NOT NULL, f.requested_at,
       o.id, o.key, o.instance, o.node, o.host, o."group", o.pid, o.pid_start, o.started_at, o.alive_at,
       round(extract(epoch FROM o.lease) * 1000000)::int8,
       l.id, l.node, l.outcome, l.exit_code, l.signal, l.started_at, l.finished_at
FROM unnest($1::text[]) WITH ORDINALITY AS k (key, place)
LEFT JOIN {status} s ON s.key = k.key
LEFT JOIN {flag} f ON f.key = k.key
LEFT JOIN {run} o ON o.key = k.key AND o.finished_at IS NULL
LEFT JOIN LATERAL (
    SELECT r.id, r.node, r.outcome, r.exit_code, r.signal, r.started_at, r.finished_at
    FROM {run} r WHERE r.key = k.key AND r.finished_at IS NOT NULL
    ORDER BY r.started_at DESC LIMIT 1
) AS l ON true
ORDER BY k.place
