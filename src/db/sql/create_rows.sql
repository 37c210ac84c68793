-- Creates missing rows as never having run; in key order, so that two nodes that meet here cannot block each other for good.
INSERT INTO {status} (key, value, updated_at{and_created_at})
SELECT k.key, 'needed', timestamptz 'epoch'{and_now}
FROM unnest($1::text[]) AS k (key) ORDER BY k.key
ON CONFLICT (key) DO NOTHING
