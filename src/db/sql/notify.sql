-- Sends a word to a channel, to see whether whoever listens hears it.
SELECT pg_notify($1::text, '')
