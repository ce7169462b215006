-- :name now
-- The current time, by which partitions come into being.
SELECT statement_timestamp() AS now
