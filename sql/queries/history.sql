-- :name finished_tasks
-- Lock tasks that finished some time ago, the oldest first. A task created later cannot be among
-- them, which bounds the search.
SELECT t.id FROM knockon.tasks t
WHERE t.org_id = %(org_id)s AND t.status IN ('succeeded', 'skipped', 'canceled')
  AND t.completed_at < now() - %(seconds)s * interval '1 second'
  AND t.id < knockon.first_id_at(now() - %(seconds)s * interval '1 second')
ORDER BY t.id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- :name attempts_of_archived_tasks
-- Lock attempts at tasks that have moved to the history, or were deleted with their job.
SELECT a.task_id AS id FROM knockon.task_attempts a
WHERE a.org_id = %(org_id)s
  AND a.task_id < knockon.first_id_at(now() - %(seconds)s * interval '1 second')
  AND NOT EXISTS (SELECT FROM knockon.tasks t WHERE t.id = a.task_id)
ORDER BY a.task_id LIMIT %(limit)s
FOR UPDATE OF a SKIP LOCKED

-- :name processed_invalidations
-- Lock processed invalidations. Those set aside while the dataset had no current version stay, because
-- a deploy may have them planned for the successor of their version, the newest of the dataset.
SELECT i.id FROM knockon.data_invalidations i
WHERE i.org_id = %(org_id)s
  AND (i.outcome <> 'not_current'
       OR EXISTS (SELECT FROM knockon.dataset_versions v
                  JOIN knockon.dataset_versions later ON later.dataset_uuid = v.dataset_uuid
                  WHERE v.id = i.dataset_version
                    AND (later.created_at, later.id) > (v.created_at, v.id)))
  AND i.processed_at < now() - %(seconds)s * interval '1 second'
  AND i.id < knockon.first_id_at(now() - %(seconds)s * interval '1 second')
ORDER BY i.id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- :name applied_plans
-- Lock applied plans.
SELECT p.id FROM knockon.plans p
WHERE p.org_id = %(org_id)s AND p.state = 'applied'
  AND p.id < knockon.first_id_at(now() - %(seconds)s * interval '1 second')
ORDER BY p.id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- :name closed_dead_letters
-- Lock dead letters that were replayed or closed.
SELECT l.id FROM knockon.dead_letters l
WHERE l.org_id = %(org_id)s
  AND coalesce(l.replayed_at, l.closed_at) < now() - %(seconds)s * interval '1 second'
  AND l.id < knockon.first_id_at(now() - %(seconds)s * interval '1 second')
ORDER BY l.id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- :name add_partition
-- Create the partition of a history table for the month of a time, if missing.
SELECT knockon.add_history_partition(%(history)s::text::regclass, %(moment)s)

-- :name move_tasks
-- Move finished tasks to the history, with their dependencies.
WITH finished AS (
    DELETE FROM knockon.tasks t WHERE t.id = ANY(%(ids)s) RETURNING t.*
), dependencies AS (
    DELETE FROM knockon.task_dependencies d WHERE d.task_id = ANY(%(ids)s)
    RETURNING d.task_id, d.depends_on
)
INSERT INTO knockon.tasks_history (id, job_id, dag_name, job_name, org_id, status, block_key, partitions,
    must_run, row_filters, plan_ids, plans_dropped_to, blockers, input_versions, outputs,
    worker_id, attempts, created_at, queued_at, started_at, completed_at, error_message, outcome)
SELECT t.id, t.job_id, j.dag_name, j.name, t.org_id, t.status, t.block_key, t.partitions,
    t.must_run, t.row_filters, t.plan_ids, t.plans_dropped_to, coalesce(d.blockers, '{}'),
    t.input_versions, t.outputs, t.worker_id, t.attempts, t.created_at, t.queued_at, t.started_at,
    t.completed_at, t.error_message, t.outcome
FROM finished t
JOIN knockon.jobs j ON j.id = t.job_id
LEFT JOIN (SELECT task_id, array_agg(depends_on ORDER BY depends_on) AS blockers
           FROM dependencies GROUP BY task_id) AS d ON d.task_id = t.id

-- :name move_attempts
-- Move attempts to the history, and add the sizes of their logs to those of the org.
WITH moved AS (DELETE FROM knockon.task_attempts a WHERE a.task_id = ANY(%(ids)s) RETURNING a.*),
counted AS (
    INSERT INTO knockon.stored_logs AS s (org_id, month, bytes)
    SELECT m.org_id, date_trunc('month', knockon.moment_of(m.task_id), 'UTC'), sum(octet_length(m.log))
    FROM moved m JOIN knockon.orgs o ON o.id = m.org_id
    WHERE octet_length(m.log) > 100
    GROUP BY 1, 2
    ON CONFLICT (org_id, month) DO UPDATE SET bytes = s.bytes + EXCLUDED.bytes
)
INSERT INTO knockon.task_attempts_history SELECT * FROM moved
ON CONFLICT DO NOTHING

-- :name move_invalidations
-- Move processed invalidations to the history.
WITH moved AS (DELETE FROM knockon.data_invalidations i WHERE i.id = ANY(%(ids)s) RETURNING i.*)
INSERT INTO knockon.data_invalidations_history SELECT * FROM moved

-- :name move_plans
-- Move applied plans to the history.
WITH moved AS (DELETE FROM knockon.plans p WHERE p.id = ANY(%(ids)s) RETURNING p.*)
INSERT INTO knockon.plans_history SELECT * FROM moved

-- :name move_dead_letters
-- Move dead letters to the history.
WITH moved AS (DELETE FROM knockon.dead_letters l WHERE l.id = ANY(%(ids)s) RETURNING l.*)
INSERT INTO knockon.dead_letters_history SELECT * FROM moved

-- :name expire
-- Remove the oldest month that ended some days ago from a history table, except for rows that explain
-- existing partitions; the month's name, or null if there is none.
SELECT knockon.expire_history(%(history)s::text::regclass,
    clock_timestamp() - %(days)s * interval '1 day') AS month

-- :name drop_month
-- Remove the oldest month that ended some days ago from a history table as a whole; the month's name,
-- or null if there is none.
SELECT knockon.drop_history_month(%(history)s::text::regclass,
    clock_timestamp() - %(days)s * interval '1 day') AS month

-- :name expire_keys
-- Delete idempotency keys of requests made some days ago whose invalidations are in the history.
DELETE FROM knockon.idempotency_keys k
WHERE k.used_at < clock_timestamp() - %(days)s * interval '1 day'
  AND NOT EXISTS (SELECT FROM knockon.data_invalidations i WHERE i.id = ANY(k.invalidation_ids))

-- :name expire_rejected_plans
-- Delete plans rejected some days ago, except for those by which partitions are still stale.
DELETE FROM knockon.plans p
WHERE p.state = 'rejected' AND p.decided_at < clock_timestamp() - %(days)s * interval '1 day'
  AND NOT EXISTS (SELECT FROM knockon.stale_decisions d WHERE d.plan_id = p.id)
