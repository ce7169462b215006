-- :name insert
-- What was decided, with every path and every pruned edge.
INSERT INTO plans (id, org_id, lineage_epoch, invalidation_ids, document, task_count)
VALUES (%(id)s, %(org_id)s, %(epoch)s, %(invalidation_ids)s, %(document)s, %(task_count)s)

-- :name by_ids
-- Plans with their documents.
SELECT id, created_at, invalidation_ids, document, task_count FROM plans
WHERE org_id = %(org_id)s AND id = ANY(%(ids)s) ORDER BY id

-- :name recent
-- The newest plans, without their documents.
SELECT id, created_at, invalidation_ids, task_count FROM plans
WHERE org_id = %(org_id)s ORDER BY id DESC LIMIT %(limit)s

-- :name touching
-- Plans made of facts about any of these datasets, newest first.
SELECT DISTINCT p.id, p.created_at, p.invalidation_ids, p.document, p.task_count
FROM plans p JOIN data_invalidations i ON i.plan_id = p.id
WHERE p.org_id = %(org_id)s AND i.dataset_uuid = ANY(%(datasets)s)
ORDER BY p.id DESC LIMIT %(limit)s
