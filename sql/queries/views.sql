-- :name dags
-- The DAGs of an org in their current versions.
SELECT c.dag_name AS name, v.number AS version, c.updated_at AS deployed_at,
       (SELECT count(*) FROM knockon.jobs j WHERE j.dag_version_id = v.id) AS jobs,
       (SELECT count(*) FROM knockon.dag_version_datasets p WHERE p.dag_version_id = v.id) AS datasets
FROM knockon.dag_current_versions c JOIN knockon.dag_versions v ON v.id = c.dag_version_id
WHERE c.org_id = %(org_id)s ORDER BY c.dag_name

-- :name undeployed_dags
-- Undeployed DAGs with a version left, each at its last undeploy.
SELECT d.dag_name AS name, v.number AS version, d.deployed_at AS undeployed_at, d.deployed_by AS by
FROM (SELECT DISTINCT ON (dag_name) * FROM knockon.dag_deploys
      WHERE org_id = %(org_id)s ORDER BY dag_name, number DESC) AS d
JOIN knockon.dag_versions v ON v.id = d.dag_version_id
WHERE d.kind = 'undeployed'
  AND NOT EXISTS (SELECT FROM knockon.dag_current_versions c
                  WHERE c.org_id = %(org_id)s AND c.dag_name = d.dag_name)
ORDER BY d.dag_name

-- :name open_invalidations
-- The number of unplanned invalidations, the age in seconds of the oldest that is not held back, and
-- the number of those whose plans are pending approval.
SELECT count(*) AS invalidations,
       extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE dataset_uuid <> ALL (
           ARRAY(SELECT h.dataset_uuid FROM knockon.held_datasets h WHERE h.org_id = %(org_id)s))
           AND NOT EXISTS (SELECT FROM knockon.pauses p WHERE p.org_id = %(org_id)s AND p.kind = 'org')
           AND (i.after_partition IS NULL
                OR NOT EXISTS (SELECT FROM knockon.waiting_invalidations w WHERE w.id = i.id))))::float8 AS seconds,
       (SELECT coalesce(sum(cardinality(p.invalidation_ids)), 0)::bigint FROM knockon.plans p
        WHERE p.org_id = %(org_id)s AND p.state = 'pending_approval' AND p.state <> 'applied')
           AS pending_approval
FROM knockon.data_invalidations i
WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL AND planning_error IS NULL

-- :name set_aside
-- The newest invalidations that were set aside, and their total number.
SELECT i.id, d.name AS dataset, i.partition_key, i.planning_error AS error, i.set_aside_at,
       count(*) OVER () AS total
FROM knockon.data_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org_id)s AND i.planning_error IS NOT NULL
  AND (%(hidden)s::uuid[] IS NULL OR i.dataset_uuid <> ALL(%(hidden)s::uuid[]))
ORDER BY i.set_aside_at DESC LIMIT %(limit)s

-- :name invalidation_ids
-- Ids of invalidations with this ending.
SELECT id FROM knockon.all_invalidations
WHERE org_id = %(org_id)s AND knockon.id_ends_with(id, %(ending)s)
  AND (%(hidden)s::uuid[] IS NULL OR dataset_uuid <> ALL(%(hidden)s::uuid[]))
LIMIT 2

-- :name positions
-- The positions of all consumers, with the reported lag. The check for partitions that have come into
-- being is none.
SELECT consumer, stream, position, updated_at, lag, lag_seconds, lag_at, clock_timestamp() AS now
FROM knockon.consumer_positions
WHERE org_id = %(org_id)s AND consumer <> 'appears' ORDER BY consumer, stream

-- :name open_dead_letters
-- The number of open dead letters.
SELECT count(*) AS letters FROM knockon.dead_letters
WHERE org_id = %(org_id)s AND replayed_at IS NULL AND closed_at IS NULL

-- :name workers
-- Workers with a task in the last minutes, and the number of their running tasks.
SELECT worker_id AS id, count(*) FILTER (WHERE status = 'running') AS running, max(last_heartbeat) AS seen
FROM knockon.tasks
WHERE org_id = %(org_id)s AND last_heartbeat > clock_timestamp() - interval '15 minutes'
GROUP BY worker_id ORDER BY worker_id

-- :name stuck
-- The newest failed tasks and first runs that wait for inputs, with the number of tasks blocked by
-- each.
WITH RECURSIVE stuck AS (
    SELECT t.id FROM knockon.tasks t
    WHERE t.org_id = %(org_id)s
      AND (%(hidden)s::uuid[] IS NULL OR t.job_id <> ALL(%(hidden)s::uuid[]))
      AND (t.status = 'failed' OR (t.status = 'blocked' AND t.waiting_for IS NOT NULL))
    ORDER BY t.id DESC LIMIT %(limit)s
), dependents(root, id) AS (
    SELECT s.id, t.id FROM stuck s
    JOIN knockon.task_dependencies d ON d.depends_on = s.id
    JOIN knockon.tasks t ON t.id = d.task_id AND t.status COLLATE "C" = 'blocked'
    UNION
    SELECT b.root, t.id FROM dependents b
    JOIN knockon.task_dependencies d ON d.depends_on = b.id
    JOIN knockon.tasks t ON t.id = d.task_id AND t.status COLLATE "C" = 'blocked'
)
SELECT t.id, j.name AS job, t.block_key, t.status, t.attempts, t.error_message, t.waiting_for,
       (SELECT count(*) FROM dependents b WHERE b.root = t.id) AS blocks
FROM stuck s JOIN knockon.tasks t ON t.id = s.id JOIN knockon.jobs j ON j.id = t.job_id
ORDER BY t.id DESC

-- :name task_ids
-- Ids of tasks with this ending.
SELECT id FROM knockon.all_tasks
WHERE org_id = %(org_id)s AND knockon.id_ends_with(id, %(ending)s)
  AND (%(hidden)s::text[] IS NULL OR dag_name || '.' || job_name <> ALL(%(hidden)s::text[]))
LIMIT 2

-- :name plan_ids
-- Ids of plans with this ending, more than two because some may be hidden.
SELECT id FROM knockon.all_plans
WHERE org_id = %(org_id)s AND knockon.id_ends_with(id, %(ending)s) LIMIT 20

-- :name dead_letter_ids
-- Ids of dead letters with this ending.
SELECT id FROM knockon.all_dead_letters
WHERE org_id = %(org_id)s AND knockon.id_ends_with(id, %(ending)s)
  AND (%(streams)s::text[] IS NULL OR EXISTS (
      SELECT FROM unnest(%(streams)s::text[]) AS s(stream) WHERE starts_with(stream || '/', s.stream || '/')))
LIMIT 2

-- :name dead_letter
-- One dead letter.
SELECT id, consumer, stream, position, payload, headers, error, created_at, replayed_at, is_loss,
       closed_at, closed_by, close_reason
FROM knockon.all_dead_letters WHERE org_id = %(org_id)s AND id = %(id)s

-- :name open_dead_letter_ids
-- Ids of dead letters that can be replayed, the oldest first.
SELECT id FROM knockon.dead_letters
WHERE org_id = %(org_id)s AND replayed_at IS NULL AND closed_at IS NULL AND NOT is_loss
  AND (%(streams)s::text[] IS NULL OR EXISTS (
      SELECT FROM unnest(%(streams)s::text[]) AS s(stream) WHERE starts_with(stream || '/', s.stream || '/')))
ORDER BY created_at

-- :name dead_letter_error
-- Replace the error of a dead letter after an unsuccessful replay.
UPDATE knockon.dead_letters SET error = %(error)s WHERE id = %(id)s

-- :name progress
-- The states and plans of some invalidations, and whether any task is queued or running.
SELECT (count(*) FILTER (WHERE processed_at IS NULL AND plan_id IS NULL AND planning_error IS NULL))
           AS unplanned,
       coalesce(array_agg(planning_error) FILTER (WHERE planning_error IS NOT NULL), '{}') AS set_aside,
       coalesce(array_agg(DISTINCT plan_id) FILTER (WHERE processed_at IS NULL AND plan_id IS NOT NULL), '{}')
           AS pending_approval,
       coalesce(array_agg(DISTINCT plan_id) FILTER (WHERE outcome = 'rejected'), '{}') AS rejected,
       coalesce(array_agg(DISTINCT plan_id) FILTER (WHERE plan_id IS NOT NULL), '{}') AS plans,
       EXISTS (SELECT FROM knockon.tasks t
               WHERE t.org_id = %(org_id)s AND t.status IN ('queued', 'running')) AS moving
FROM knockon.all_invalidations
WHERE org_id = %(org_id)s AND id = ANY(%(ids)s)

-- :name tasks_of_plans
-- The number of tasks of some plans in each state.
SELECT status, count(*) AS tasks FROM knockon.all_tasks
WHERE org_id = %(org_id)s
  AND (plan_ids && %(plans)s::uuid[] OR plans_dropped_to >= ANY(%(plans)s::uuid[]))
GROUP BY status

-- :name obstacles
-- The obstacles before the blocked tasks of some invalidations: whether any of them, or of the tasks
-- before them, waits for inputs, and whether any has failed.
WITH RECURSIVE invalidations AS (
    SELECT plan_id FROM knockon.all_invalidations WHERE org_id = %(org_id)s AND id = ANY(%(ids)s)
), upstream AS (
    SELECT t.id, t.status, t.waiting_for FROM knockon.tasks t
    WHERE t.org_id = %(org_id)s AND t.status = 'blocked'
      AND (t.plan_ids && ARRAY(SELECT plan_id FROM invalidations)
        OR t.plans_dropped_to >= ANY (ARRAY(SELECT plan_id FROM invalidations)))
    UNION
    SELECT t.id, t.status, t.waiting_for FROM upstream u
    JOIN knockon.task_dependencies d ON d.task_id = u.id
    JOIN knockon.tasks t ON t.id = d.depends_on
        AND t.status COLLATE "C" IN ('blocked', 'queued', 'running', 'failed')
)
SELECT coalesce(bool_or(status = 'blocked' AND waiting_for IS NOT NULL), false) AS missing_inputs,
       coalesce(bool_or(status = 'failed'), false) AS failed_tasks
FROM upstream

-- :name awaited_tasks
-- The unfinished tasks of some invalidations and those before them, counted by job and status.
-- Delayed tasks are queued for a later attempt.
WITH RECURSIVE invalidations AS (
    SELECT plan_id FROM knockon.all_invalidations WHERE org_id = %(org_id)s AND id = ANY(%(ids)s)
), upstream AS (
    SELECT t.id, t.job_id, t.status, t.runtime, t.next_retry_at FROM knockon.tasks t
    WHERE t.org_id = %(org_id)s AND t.status IN ('blocked', 'queued', 'running', 'failed')
      AND (t.plan_ids && ARRAY(SELECT plan_id FROM invalidations)
        OR t.plans_dropped_to >= ANY (ARRAY(SELECT plan_id FROM invalidations)))
    UNION
    SELECT t.id, t.job_id, t.status, t.runtime, t.next_retry_at FROM upstream u
    JOIN knockon.task_dependencies d ON d.task_id = u.id
    JOIN knockon.tasks t ON t.id = d.depends_on
        AND t.status COLLATE "C" IN ('blocked', 'queued', 'running', 'failed')
)
SELECT j.dag_name, j.name AS job, u.status, u.runtime, count(*) AS tasks,
       count(*) FILTER (WHERE u.next_retry_at > clock_timestamp()) AS delayed
FROM upstream u JOIN knockon.jobs j ON j.id = u.job_id
GROUP BY j.dag_name, j.name, u.status, u.runtime ORDER BY min(u.id::text)

-- :name awaited_invalidations
-- The unplanned ones of some invalidations, counted by dataset.
SELECT d.name AS dataset, count(*) AS invalidations
FROM knockon.data_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org_id)s AND i.id = ANY(%(ids)s)
  AND i.processed_at IS NULL AND i.plan_id IS NULL AND i.planning_error IS NULL
GROUP BY d.name ORDER BY d.name

-- :name lately_served
-- The runtimes whose tasks run or have ended in the last seconds, and whether an engine has planned
-- lately or is planning.
SELECT ARRAY(SELECT DISTINCT t.runtime FROM knockon.tasks t
             WHERE t.org_id = %(org_id)s
               AND (t.status = 'running'
                    OR t.completed_at > clock_timestamp() - %(seconds)s * interval '1 second'))
           AS runtimes,
       EXISTS (SELECT FROM knockon.all_plans p
               WHERE p.org_id = %(org_id)s
                 AND p.id >= knockon.first_id_at(clock_timestamp() - %(seconds)s * interval '1 second'))
           OR EXISTS (SELECT FROM knockon.planning_attempts a JOIN knockon.data_invalidations i
                          ON i.id = a.oldest AND i.processed_at IS NULL AND i.plan_id IS NULL
                             AND i.planning_error IS NULL
                      WHERE a.org_id = %(org_id)s) AS is_planning

-- :name waiting_runtimes
-- The runtimes of queued tasks that could have been claimed for some seconds. A task is due from its
-- creation on, or later: after a failure, or after the tasks before it.
SELECT DISTINCT t.runtime FROM knockon.tasks t
WHERE t.org_id = %(org_id)s AND t.status = 'queued'
  AND t.id < knockon.first_id_at(clock_timestamp() - %(seconds)s * interval '1 second')
  AND coalesce(t.next_retry_at <= clock_timestamp() - %(seconds)s * interval '1 second', true)
  AND t.job_id NOT IN (SELECT p.job_id FROM knockon.paused_jobs p WHERE p.org_id = t.org_id)
ORDER BY t.runtime

-- :name invalidations_of_version
-- The invalidations of a deploy.
SELECT i.id FROM knockon.all_invalidations i
WHERE i.org_id = %(org_id)s AND i.reason = 'definition_change'
  AND i.dataset_version = ANY(ARRAY(SELECT p.dataset_version FROM knockon.dag_version_datasets p
                                    WHERE p.dag_version_id = %(dag_version_id)s))

-- :name unfinished_over
-- Unfinished tasks for these partitions.
SELECT t.id, j.name AS job, t.block_key, t.status, t.outcome, t.error_message, t.waiting_for
FROM knockon.tasks t JOIN knockon.jobs j ON j.id = t.job_id
WHERE t.job_id = %(job_id)s AND t.status IN ('blocked', 'queued', 'running', 'failed')
  AND (%(partition)s = ANY(t.partitions) OR t.block_key = '*')
ORDER BY t.id

-- :name skipped_over
-- By plan, its task for a partition that ended without a run. Ids rise with time and a plan creates
-- its tasks at once, so they are found close to the plan's own id.
SELECT p.id AS plan_id, t.id AS task_id
FROM unnest(%(plans)b::uuid[], %(ends)b::uuid[]) AS p(id, until)
JOIN knockon.all_tasks t ON t.id BETWEEN p.id AND p.until AND t.status = 'skipped'
    AND p.id = ANY (t.plan_ids) AND %(partition)s = ANY (t.partitions)
    AND t.job_name = %(job)s AND t.dag_name = %(dag)s
WHERE t.org_id = %(org_id)s

-- :name server
-- The version of the server, its time, and the usage of its notification queue.
SELECT current_setting('server_version') AS version, clock_timestamp() AS now,
       pg_notification_queue_usage() AS notification_queue

-- :name expired
-- Running tasks with expired leases that no engine has reaped.
SELECT count(*) AS tasks FROM knockon.tasks
WHERE org_id = %(org_id)s AND status = 'running'
  AND lease_expires_at < clock_timestamp() - interval '1 minute'

-- :name suspected_secrets
-- Jobs of all versions whose stored definition may contain a secret, for a closer check: words that
-- usually name secrets, or a password in an address. References are excluded.
SELECT j.dag_name, j.dag_version_id, j.source, j.config,
    EXISTS (SELECT FROM knockon.dag_current_versions c WHERE c.dag_version_id = j.dag_version_id)
        AS is_current
FROM knockon.jobs j
WHERE j.org_id = %(org_id)s
    AND concat_ws(' ', j.source, j.config)
        ~* 'passw|passphrase|pwd|secret|token|credential|[_-]?key[_-]?[0-9]*"|authorization:|:[^ "]*:[^ "]*@'
ORDER BY j.dag_name, j.dag_version_id
