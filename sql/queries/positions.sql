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
