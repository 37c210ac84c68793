-- Tells the server's time, where there is nothing else to read yet.
SELECT now()
