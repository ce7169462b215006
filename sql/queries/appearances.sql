-- :name last_check
-- The time up to which partitions that came into being have been invalidated.
SELECT p.position::timestamptz AS until FROM knockon.consumer_positions p
WHERE p.org_id = %(org_id)s AND p.consumer = 'appears' AND p.stream = 'appears'

-- :name checked
-- Store the time up to which partitions that came into being have been invalidated.
INSERT INTO knockon.consumer_positions (org_id, consumer, stream, position)
VALUES (%(org_id)s, 'appears', 'appears', to_jsonb(%(until)s::timestamptz) #>> '{}')
ON CONFLICT (org_id, consumer, stream)
DO UPDATE SET position = EXCLUDED.position, updated_at = clock_timestamp()

-- :name begin
-- Store the current time as the first check of an org.
INSERT INTO knockon.consumer_positions (org_id, consumer, stream, position)
VALUES (%(org_id)s, 'appears', 'appears', to_jsonb(statement_timestamp()) #>> '{}')
ON CONFLICT (org_id, consumer, stream) DO NOTHING
