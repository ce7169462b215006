-- :name insert
-- Insert a plan, with all paths and pruned edges; or replace the content of a plan that was
-- proposed or pending approval.
INSERT INTO knockon.plans (id, org_id, lineage_epoch, invalidation_ids, document, task_count)
VALUES (%(id)s, %(org_id)s, %(epoch)s, %(invalidation_ids)s, %(document)s, %(task_count)s)
ON CONFLICT (id) DO UPDATE
SET lineage_epoch = EXCLUDED.lineage_epoch, invalidation_ids = EXCLUDED.invalidation_ids,
    document = EXCLUDED.document, task_count = EXCLUDED.task_count

-- :name propose
-- Insert the preview of a change.
INSERT INTO knockon.plans (id, org_id, lineage_epoch, invalidation_ids, document, task_count, state, event,
    estimate)
VALUES (%(id)s, %(org_id)s, %(epoch)s, '{}', %(document)s, %(task_count)s, 'proposed', %(event)s,
    %(estimate)s)

-- :name insert_pending
-- Insert a plan that exceeds a limit, pending approval. The event has the files of a deploy; a
-- repeated deploy of the same files replaces the content of its plan.
INSERT INTO knockon.plans (id, org_id, lineage_epoch, invalidation_ids, document, task_count, state,
    estimate, exceeded_limits, event)
VALUES (%(id)s, %(org_id)s, %(epoch)s, %(invalidation_ids)s, %(document)s, %(task_count)s, 'pending_approval',
    %(estimate)s, %(exceeded_limits)s, %(event)s)
ON CONFLICT (id) DO UPDATE
SET lineage_epoch = EXCLUDED.lineage_epoch, document = EXCLUDED.document,
    task_count = EXCLUDED.task_count, estimate = EXCLUDED.estimate,
    exceeded_limits = EXCLUDED.exceeded_limits, event = EXCLUDED.event

-- :name pending_deploy
-- The plan pending approval that deploys the same files.
SELECT id FROM knockon.plans
WHERE org_id = %(org_id)s AND state = 'pending_approval' AND event -> 'deploy' = %(deploy)s

-- :name lock_one
-- Lock a plan for a review.
SELECT id, state, event, invalidation_ids, document, task_count, decided_at, decided_by FROM knockon.plans
WHERE org_id = %(org_id)s AND id = %(id)s FOR UPDATE

-- :name authors
-- The users who requested the changes of a plan, proposed it, or deploy it.
SELECT DISTINCT a.by FROM knockon.all_plans p, LATERAL (
    SELECT p.event ->> 'by' UNION ALL SELECT p.event ->> 'proposed_by' UNION ALL
    SELECT i.source_event ->> 'by' FROM knockon.all_invalidations i WHERE i.id = ANY(p.invalidation_ids)) AS a(by)
WHERE p.org_id = %(org_id)s AND p.id = %(id)s AND a.by IS NOT NULL

-- :name in_history
-- A plan in the history.
SELECT id, state, event, invalidation_ids, document, task_count, decided_at, decided_by
FROM knockon.plans_history WHERE org_id = %(org_id)s AND id = %(id)s

-- :name review
-- Record the review of a proposed plan or of one pending approval.
UPDATE knockon.plans SET state = %(state)s, decided_at = clock_timestamp(), decided_by = %(by)s
WHERE id = %(id)s

-- :name trim
-- Delete proposals that were not applied for some time.
DELETE FROM knockon.plans
WHERE org_id = %(org_id)s AND state = 'proposed'
  AND created_at < clock_timestamp() - %(days)s * interval '1 day'

-- :name jobs
-- The names and scaling of a plan's jobs. A deploy may have created new rows for the same jobs since.
SELECT id::text, dag_name, name, scaling
FROM knockon.jobs WHERE id = ANY(%(ids)s::uuid[])

-- :name costs
-- The average cost of a partition of each dataset, from the runs behind its last partitions in the
-- newest dataset version. An index returns them in order, so a long history costs no more than a
-- short one.
SELECT d.id AS dataset, avg(p.seconds)::float8 AS seconds, avg(p.bytes)::float8 AS bytes
FROM unnest(%(datasets)s::uuid[]) AS d(id), LATERAL (
    SELECT p.bytes, extract(epoch FROM t.completed_at - t.started_at)
                    / greatest(cardinality(t.partitions), 1) AS seconds
    FROM (SELECT task_id, bytes FROM knockon.partition_versions
          WHERE dataset_uuid = d.id
          ORDER BY dataset_version DESC, partition_key DESC LIMIT %(sample)s) AS p
    JOIN knockon.all_tasks t ON t.id = p.task_id AND t.status = 'succeeded') AS p
GROUP BY d.id

-- :name by_ids
-- Plans with their documents.
SELECT id, created_at, invalidation_ids, document, task_count, state, decided_at, decided_by
FROM knockon.all_plans WHERE org_id = %(org_id)s AND id = ANY(%(ids)s) ORDER BY id

-- :name list
-- The newest plans before an id, without their documents.
SELECT id, created_at, state, task_count, jsonb_array_length(document -> 'steps') AS jobs, event,
       estimate, exceeded_limits, decided_at, decided_by,
       ARRAY(SELECT DISTINCT d.name FROM knockon.all_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
             WHERE i.id = ANY(p.invalidation_ids) ORDER BY d.name) AS datasets
FROM knockon.all_plans p
WHERE org_id = %(org_id)s AND id < %(before)s
  AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
ORDER BY id DESC LIMIT %(limit)s

-- :name whole
-- One plan with its document.
SELECT id, created_at, state, task_count, jsonb_array_length(document -> 'steps') AS jobs, event,
       estimate, exceeded_limits, decided_at, decided_by,
       ARRAY(SELECT DISTINCT d.name FROM knockon.all_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
             WHERE i.id = ANY(p.invalidation_ids) ORDER BY d.name) AS datasets,
       invalidation_ids, document
FROM knockon.all_plans p WHERE org_id = %(org_id)s AND id = %(id)s

-- :name touching
-- Plans with invalidations of these datasets, newest first.
SELECT DISTINCT p.id, p.created_at, p.invalidation_ids, p.document, p.task_count
FROM knockon.all_plans p JOIN knockon.all_invalidations i ON i.plan_id = p.id
WHERE p.org_id = %(org_id)s AND i.dataset_uuid = ANY(%(datasets)s)
ORDER BY p.id DESC LIMIT %(limit)s

-- :name not_run
-- Plans that include a job and did not run: plans pending approval, and plans rejected since a
-- given time, newest first. A deploy that did not run has made nothing stale.
SELECT p.id, p.state, p.created_at, p.exceeded_limits, p.decided_at, p.decided_by, s.step
FROM knockon.plans p, LATERAL (
    SELECT e.step FROM jsonb_array_elements(p.document -> 'steps') AS e(step)
    JOIN knockon.jobs j ON j.id = (e.step ->> 'job')::uuid AND j.dag_name = %(dag)s
    WHERE e.step ->> 'name' = %(job)s LIMIT 1) AS s
WHERE p.org_id = %(org_id)s AND p.state <> 'applied' AND (p.event ->> 'deploy') IS NULL
  AND (p.state = 'pending_approval' OR (p.state = 'rejected' AND p.created_at > %(since)s))
ORDER BY p.id DESC LIMIT %(limit)s
