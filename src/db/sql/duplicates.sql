-- Names the keys that keep a unique index from being added.
SELECT key::text, count(*) FROM {status} WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1 ORDER BY 1 LIMIT 20
