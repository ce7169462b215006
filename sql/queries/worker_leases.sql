-- :name store
-- Store the terms of leases, in place of those of earlier attempts.
INSERT INTO knockon.worker_leases (task_id, org_id, token, terms, key_id, user_id)
SELECT v.task_id, %(org_id)s, v.token, v.terms, %(key)s, %(user)s
FROM unnest(%(tasks)s::uuid[], %(tokens)s::uuid[], %(terms)s::jsonb[]) AS v(task_id, token, terms)
ON CONFLICT (task_id) DO UPDATE SET token = EXCLUDED.token, terms = EXCLUDED.terms,
    key_id = EXCLUDED.key_id, user_id = EXCLUDED.user_id

-- :name held
-- The terms of leases that are still held.
SELECT l.task_id, l.token, l.terms
FROM unnest(%(tasks)s::uuid[], %(tokens)s::uuid[]) AS u(task_id, token)
JOIN knockon.held_leases l ON l.org_id = %(org_id)s AND l.task_id = u.task_id AND l.token = u.token

-- :name are_held
-- The tokens of leases that are still held.
SELECT l.task_id, l.token
FROM unnest(%(tasks)s::uuid[], %(tokens)s::uuid[]) AS u(task_id, token)
JOIN knockon.held_leases l ON l.org_id = %(org_id)s AND l.task_id = u.task_id AND l.token = u.token

-- :name remove_ended
-- Remove the terms of ended attempts.
DELETE FROM knockon.worker_leases l
WHERE l.org_id = %(org_id)s
  AND NOT EXISTS (SELECT FROM knockon.tasks t WHERE t.id = l.task_id AND t.lease_token = l.token)
