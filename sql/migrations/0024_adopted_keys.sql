-- Requests written by code older than the table of idempotency keys, which could run after 0002 and
-- not after 0017: their keys are in the table from now on, and no statement looks for others.
-- knockon: oldest code 0017

SET LOCAL search_path = knockon, pg_temp;

INSERT INTO idempotency_keys (org_id, key, request_hash, invalidation_ids, used_at)
SELECT i.org_id, k.key, min(i.request_hash), array_agg(i.id ORDER BY i.id), min(i.created_at)
FROM data_invalidations i,
     LATERAL (SELECT left(i.idempotency_key,
                          -length(substring(i.idempotency_key FROM '#[0-9]+$'))) AS key) AS k
WHERE i.idempotency_key ~ '#[0-9]+$'
  AND NOT EXISTS (SELECT FROM idempotency_keys u WHERE u.org_id = i.org_id AND u.key = k.key)
GROUP BY i.org_id, k.key
ON CONFLICT DO NOTHING;
