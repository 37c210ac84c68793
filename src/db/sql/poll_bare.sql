-- Reads the rows alone, where our own tables do not stand yet and none may be made (a dry run beside an existing cron).
SELECT now(), k.key, s.key IS NOT NULL, coalesce(s.value::text, ''),
       greatest(coalesce(s.updated_at, 'epoch'), 'epoch'), {created_at},
       false, NULL::timestamptz
FROM unnest($1::text[]) WITH ORDINALITY AS k (key, place)
LEFT JOIN {status} s ON s.key = k.key
ORDER BY k.place
