-- :name now
-- The current time.
SELECT statement_timestamp() AS now
