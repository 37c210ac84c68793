-- Lets one at a time create tables here.
SELECT FROM (SELECT pg_advisory_xact_lock($1::int8)) AS lock
