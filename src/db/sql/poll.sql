-- Reads the rows asked for with their flags, their open runs, and every open run of this instance and node, in one snapshot.
SELECT now(), k.key, s.key IS NOT NULL, coalesce(s.value::text, ''),
       greatest(coalesce(s.updated_at, 'epoch'), 'epoch'), {created_at},
       f.paused_at IS NOT NULL, f.requested_at,
       o.id, o.key, o.instance, o.node, o.host, o."group", o.pid, o.pid_start, o.started_at, o.alive_at,
       round(extract(epoch FROM o.lease) * 1000000)::int8, current_setting('transaction_read_only')::bool
FROM unnest($1::text[]) AS k (key)
LEFT JOIN {status} s ON s.key = k.key
LEFT JOIN {flag} f ON f.key = k.key
FULL JOIN (
    SELECT * FROM {run} r
    WHERE r.finished_at IS NULL AND (r.instance = $2::text AND r.node = $3::text OR r.key = ANY ($1::text[]))
) AS o ON o.key = k.key
