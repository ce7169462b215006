-- :name claim
-- Record messages that are received for the first time; the statement waits for the transactions of
-- concurrent requests with the same ones. A message without any effect gives its key to another one
-- with the same id, such as a corrected one.
INSERT INTO knockon.idempotency_keys AS k (org_id, key, request_hash, invalidation_ids)
SELECT %(org_id)s, v.key, v.content, '{}'
FROM unnest(%(keys)s::text[], %(contents)s::text[]) AS v(key, content)
ORDER BY v.key -- so that concurrent requests wait for each other in one direction only
ON CONFLICT (org_id, key) DO UPDATE
SET request_hash = EXCLUDED.request_hash, used_at = clock_timestamp()
WHERE k.invalidation_ids = '{}' AND k.request_hash IS DISTINCT FROM EXCLUDED.request_hash
RETURNING k.key

-- :name received
-- Messages that were received before, with the invalidations of their first request.
SELECT key, request_hash, invalidation_ids FROM knockon.idempotency_keys
WHERE org_id = %(org_id)s AND key = ANY(%(keys)s)

-- :name record
-- Record the invalidations of messages.
UPDATE knockon.idempotency_keys SET invalidation_ids = %(invalidations)s
WHERE org_id = %(org_id)s AND key = ANY(%(keys)s)

-- :name rejected
-- The errors of messages that are open dead letters.
SELECT position, error FROM knockon.dead_letters
WHERE org_id = %(org_id)s AND consumer = %(consumer)s AND stream = %(stream)s
  AND position = ANY(%(positions)s) AND replayed_at IS NULL AND closed_at IS NULL

-- :name expire
-- Delete the keys of messages received some days ago.
DELETE FROM knockon.idempotency_keys
WHERE used_at < clock_timestamp() - %(days)s * interval '1 day' AND key ~ '^http/[^/]+/[0-9a-f]{32}$'
