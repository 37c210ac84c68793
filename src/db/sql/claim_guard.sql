-- Lets one claim of this instance at a time count and take; in READ COMMITTED only a later statement sees what the former holder committed.
SELECT now() FROM (SELECT pg_advisory_xact_lock($1::int8)) AS guard
