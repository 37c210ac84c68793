-- Reads which tables and columns stand, and whether the indexes that the statements count on do.
SELECT array(SELECT a.attname || ' ' || format_type(a.atttypid, NULL) FROM pg_attribute a
             WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped),
       array(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = to_regclass($2::text) AND a.attnum > 0 AND NOT a.attisdropped),
       array(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = to_regclass($3::text) AND a.attnum > 0 AND NOT a.attisdropped),
       EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = to_regclass($1::text) AND a.attname = 'key' AND i.indnkeyatts = 1 AND i.indisunique
                 AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL),
       EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = to_regclass($2::text) AND a.attname = 'key' AND i.indnkeyatts = 1 AND i.indisunique
                 AND i.indisvalid AND pg_get_expr(i.indpred, i.indrelid) = '(finished_at IS NULL)'),
       EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               JOIN pg_attribute b ON b.attrelid = i.indrelid AND b.attnum = i.indkey[1]
               WHERE i.indrelid = to_regclass($2::text) AND a.attname = 'key' AND b.attname = 'started_at' AND i.indisvalid),
       EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
               WHERE i.indrelid = to_regclass($3::text) AND a.attname = 'key' AND i.indisvalid
                 AND pg_get_expr(i.indpred, i.indrelid) = '(paused_at IS NOT NULL)')
