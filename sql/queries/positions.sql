-- :name stored
-- The positions of a consumer, by stream.
SELECT stream, position FROM knockon.consumer_positions
WHERE org_id = %(org_id)s AND consumer = %(consumer)s

-- :name start
-- Store the first position of a stream, unless another consumer has already stored one.
INSERT INTO knockon.consumer_positions (org_id, consumer, stream, position)
VALUES (%(org_id)s, %(consumer)s, %(stream)s, %(after)s)
ON CONFLICT DO NOTHING

-- :name advance
-- Compare and set: a former owner finds another position, and nothing is written.
UPDATE knockon.consumer_positions SET position = %(after)s, updated_at = clock_timestamp()
WHERE org_id = %(org_id)s AND consumer = %(consumer)s AND stream = %(stream)s
  AND position = %(before)s

-- :name report_lag
-- Store the lag of a consumer's streams; that of ``postgres`` is of the newest position in a change
-- log. Rows locked by an ingestion are left for the next report, so that it is never waited for.
WITH reported AS (
    SELECT p.stream, l.lag, l.seconds
    FROM unnest(%(streams)s::text[], %(lags)s::bigint[], %(seconds)s::float8[]) AS l(stream, lag, seconds)
    JOIN knockon.consumer_positions p ON p.org_id = %(org_id)s AND p.consumer = %(consumer)s
        AND p.stream = CASE l.stream WHEN 'postgres' THEN (
            SELECT n.stream FROM knockon.consumer_positions n
            WHERE n.org_id = %(org_id)s AND n.consumer = %(consumer)s AND starts_with(n.stream, 'postgres/')
            ORDER BY n.updated_at DESC LIMIT 1) ELSE l.stream END
    FOR NO KEY UPDATE OF p SKIP LOCKED
)
UPDATE knockon.consumer_positions p
SET lag = r.lag, lag_seconds = r.seconds, lag_at = clock_timestamp()
FROM reported r WHERE p.org_id = %(org_id)s AND p.consumer = %(consumer)s AND p.stream = r.stream
