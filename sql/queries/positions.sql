-- :name stored
-- Where a consumer stands in each of its streams.
SELECT stream, position FROM knockon.consumer_positions
WHERE org_id = %(org_id)s AND consumer = %(consumer)s

-- :name start
-- The first position of a stream; no row when somebody else has stored one already.
INSERT INTO knockon.consumer_positions (org_id, consumer, stream, position)
VALUES (%(org_id)s, %(consumer)s, %(stream)s, %(after)s)
ON CONFLICT DO NOTHING
RETURNING stream

-- :name advance
-- Compare and set: an owner that was overtaken finds another position, and writes nothing.
UPDATE knockon.consumer_positions SET position = %(after)s, updated_at = clock_timestamp()
WHERE org_id = %(org_id)s AND consumer = %(consumer)s AND stream = %(stream)s
  AND position = %(before)s
RETURNING stream
