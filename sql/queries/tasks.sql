-- :name lock_unfinished
-- Lock the unfinished tasks of these blocks, so that none of them starts or ends while a plan
-- decides to join it, to queue behind it or to wait for it. Running tasks come first and blocked ones
-- last, in the order in which completions lock: the completed task, which may have been queued when
-- this statement began, then its dependents.
SELECT t.id, t.job_id, t.block_key, t.status
FROM knockon.tasks t
WHERE t.id = ANY (ARRAY(
    SELECT l.id
    FROM unnest((SELECT %(jobs)b::text[]::uuid[]), (SELECT %(block_keys)b::text[])) AS u(job_id, block_key),
        LATERAL (SELECT l.id FROM knockon.tasks l
                 WHERE l.job_id = u.job_id AND l.block_key = u.block_key
                   AND l.status IN ('blocked', 'queued', 'running', 'failed') OFFSET 0) AS l))
  AND t.status COLLATE "C" IN ('blocked', 'queued', 'running', 'failed')
ORDER BY t.status = 'running' DESC, t.status = 'queued' DESC, t.id
FOR UPDATE

-- :name lock_unfinished_of_jobs
-- Lock the unfinished tasks of whole jobs, for inputs with unknown blocks.
SELECT t.id, t.job_id, t.block_key, t.status
FROM knockon.tasks t
WHERE t.status IN ('blocked', 'queued', 'running', 'failed')
  AND t.job_id = ANY(%(jobs)b::text[]::uuid[])
ORDER BY t.status = 'running' DESC, t.status = 'queued' DESC, t.id
FOR UPDATE

-- :name copy_in
-- Create the new tasks of a plan.
COPY knockon.tasks (id, job_id, status, partitions, org_id, runtime, priority, block_key, must_run, row_filters,
            propagated, plan_ids) FROM STDIN (FORMAT binary)

-- :name copy_dependencies
-- Insert the dependencies of new tasks.
COPY knockon.task_dependencies (org_id, task_id, depends_on, datasets) FROM STDIN (FORMAT binary)

-- :name join
-- Merge the needs of a plan into tasks that have not started. A failed task is queued again,
-- because its work is still outstanding. Inputs that a first run waits for are checked again once
-- it has no blockers. Row filters that are too many or too large are widened to all rows, and the
-- newest 100 plans are kept.
UPDATE knockon.tasks t
SET status = CASE WHEN t.status = 'blocked' OR v.blocked THEN 'blocked' ELSE 'queued' END,
    must_run = t.must_run OR v.must_run OR t.status = 'failed',
    attempts = CASE WHEN t.status = 'failed' THEN 0 ELSE t.attempts END,
    earlier_attempts = t.earlier_attempts + CASE WHEN t.status = 'failed' THEN t.attempts ELSE 0 END,
    next_retry_at = CASE WHEN t.status = 'failed' THEN NULL ELSE t.next_retry_at END,
    queued_at = CASE WHEN t.status = 'failed' THEN clock_timestamp() ELSE t.queued_at END,
    completed_at = NULL,
    outcome = NULL,
    waiting_for = NULL,
    partitions = ARRAY(SELECT DISTINCT p FROM unnest(
        t.partitions || ARRAY(SELECT jsonb_array_elements_text(v.partitions))) AS p ORDER BY p),
    row_filters = (SELECT CASE WHEN bool_or(f = 'null') OR count(*) > %(max_filters)s
                               OR sum(length(f::text)) > 100000 THEN '[null]'
                               ELSE coalesce(jsonb_agg(f), '[]') END
                   FROM (SELECT DISTINCT f
                         FROM jsonb_array_elements(t.row_filters || v.row_filters) AS f) AS d),
    propagated = knockon.merge_propagated(t.propagated, v.propagated, t.block_key = '*'
        OR t.partitions = ARRAY(SELECT jsonb_array_elements_text(v.partitions))),
    plan_ids = t.plan_ids[greatest(cardinality(t.plan_ids) - 98, 1):] || %(plan_id)s::uuid,
    plans_dropped_to = CASE WHEN cardinality(t.plan_ids) >= 100
        THEN t.plan_ids[cardinality(t.plan_ids) - 99] ELSE t.plans_dropped_to END
FROM jsonb_to_recordset(%(rows)s) AS v(id uuid, must_run boolean, blocked boolean, partitions jsonb,
    row_filters jsonb, propagated jsonb)
WHERE t.id = v.id

-- :name add_dependencies
-- Insert further dependencies of joined tasks.
INSERT INTO knockon.task_dependencies AS d (org_id, task_id, depends_on, datasets)
SELECT %(org_id)s, v.task_id, v.depends_on, coalesce(v.datasets, '{}')
FROM jsonb_to_recordset(%(rows)s) AS v(task_id uuid, depends_on uuid, datasets uuid[])
ON CONFLICT (task_id, depends_on) DO UPDATE SET datasets = d.datasets || excluded.datasets
WHERE NOT excluded.datasets <@ d.datasets

-- :name block_behind
-- Block queued tasks, locked before, behind tasks of earlier partitions that they read.
UPDATE knockon.tasks SET status = 'blocked' WHERE id = ANY(%(ids)s) AND status COLLATE "C" = 'queued'

-- :name candidates
-- Lock the most urgent queued tasks that are due and whose block has no running task. Each runtime
-- is queried separately, so that the index returns its tasks in order and a long queue costs no
-- more than a short one. Tasks of paused jobs stay queued.
-- Neither may depend on statistics, which may be those of a quiet time. A limit unknown to the query
-- planner makes it read the index in order instead of sorting the queue. OFFSET 0 forces a look-up
-- for each row, where a join would compare the row with all running tasks; and half of the rows are
-- then expected to pass, where a comparison promises none.
SELECT t.id, t.job_id, t.block_key, t.partitions, t.row_filters, t.attempts
FROM unnest((SELECT %(runtimes)s::text[])) AS served(runtime), LATERAL (
    SELECT t.id, t.job_id, t.block_key, t.partitions, t.row_filters, t.attempts, t.priority
    FROM knockon.tasks t
    WHERE t.org_id = %(org_id)s AND t.status = 'queued' AND t.runtime = served.runtime
      AND (t.next_retry_at IS NULL OR t.next_retry_at <= clock_timestamp())
      AND ((SELECT %(served)s::uuid[] IS NULL) OR t.job_id = ANY((SELECT %(served)s::uuid[])::uuid[]))
      AND NOT t.job_id = ANY((SELECT %(closed)s::uuid[])::uuid[])
      AND NOT EXISTS (
          SELECT FROM unnest(ARRAY(SELECT p.job_id FROM knockon.paused_jobs p WHERE p.org_id = %(org_id)s))
              AS paused(job_id)
          WHERE paused.job_id = t.job_id OFFSET 0)
      AND NOT EXISTS (
          SELECT FROM knockon.tasks r
          WHERE r.job_id = t.job_id AND r.block_key = t.block_key AND r.status = 'running' OFFSET 0)
    ORDER BY t.priority DESC, t.id
    LIMIT (SELECT %(limit)s::bigint)
    FOR UPDATE OF t SKIP LOCKED) AS t
ORDER BY t.priority DESC, t.id
LIMIT (SELECT %(limit)s::bigint)

-- :name orgs_with_queued
-- The orgs with queued tasks of some runtimes, whether due or not.
SELECT o.id FROM knockon.orgs o WHERE EXISTS (
    SELECT FROM knockon.tasks t
    WHERE t.org_id = o.id AND t.status = 'queued' AND t.runtime = ANY(%(runtimes)s::text[]))

-- :name try_caps
-- Take the locks under which running tasks of capped jobs are counted; one claimer at a time holds
-- each.
SELECT j AS job_id FROM unnest(%(jobs)s::uuid[]) AS j
WHERE pg_try_advisory_xact_lock(hashtextextended('knockon.cap ' || j::text, 0))

-- :name running
-- Count the running tasks of capped jobs.
SELECT job_id, count(*) AS running FROM knockon.tasks
WHERE status = 'running' AND job_id = ANY(%(jobs)s) GROUP BY job_id

-- :name lease
-- Lease candidates, locked before: each gets a token, one more attempt, and the content versions of
-- its inputs at this time.
UPDATE knockon.tasks t
SET status = 'running', lease_token = gen_random_uuid(), worker_id = %(worker_id)s,
    attempts = t.attempts + 1, started_at = clock_timestamp(), last_heartbeat = clock_timestamp(),
    lease_expires_at = clock_timestamp() + v.lease_seconds * interval '1 second',
    input_versions = v.input_versions, next_retry_at = NULL, error_message = NULL
FROM unnest(%(ids)b::uuid[], %(lease_seconds)b::int[], %(input_versions)b::jsonb[])
    AS v(id, lease_seconds, input_versions)
WHERE t.id = v.id
RETURNING t.id, t.lease_token, t.attempts, t.lease_expires_at,
    extract(epoch FROM t.started_at - t.queued_at)::float8 AS waited_seconds

-- :name heartbeat
-- Extend the leases of live workers; only running tasks have a token.
UPDATE knockon.tasks t
SET last_heartbeat = clock_timestamp(),
    lease_expires_at = clock_timestamp() + v.lease_seconds * interval '1 second'
FROM unnest(%(ids)b::uuid[], %(tokens)b::uuid[], %(lease_seconds)b::int[])
    AS v(id, token, lease_seconds)
WHERE t.id = v.id AND t.lease_token = v.token
RETURNING t.id, t.lease_expires_at

-- :name lock_leased
-- Lock the tasks that hold these lease tokens, so that nothing else ends them, in the order in which
-- plans lock running tasks.
SELECT t.id, t.lease_token, t.propagated
FROM (SELECT v.id, v.token
      FROM unnest((SELECT %(ids)b::uuid[]), (SELECT %(tokens)b::uuid[])) AS v(id, token)
      ORDER BY v.id) AS v, LATERAL (
    SELECT t.id, t.lease_token, t.propagated FROM knockon.tasks t
    WHERE t.id = v.id AND t.lease_token = v.token FOR UPDATE) AS t

-- :name succeed
-- Record successful runs, with their attempts; the leases end.
WITH succeeded AS (
    UPDATE knockon.tasks t
    SET status = 'succeeded', completed_at = clock_timestamp(), outputs = v.outputs,
        outcome = CASE WHEN v.has_changed THEN 'changed' ELSE 'unchanged' END,
        lease_token = NULL, lease_expires_at = NULL
    FROM unnest(%(ids)b::uuid[], %(outputs)b::jsonb[], %(has_changed)b::bool[], %(logs)b::text[])
        AS v(id, outputs, has_changed, log)
    WHERE t.id = v.id
    RETURNING t.id, t.earlier_attempts + t.attempts AS number, t.org_id, t.worker_id, t.started_at,
        t.completed_at, v.log
)
INSERT INTO knockon.task_attempts
    (task_id, number, org_id, worker_id, started_at, ended_at, outcome, log)
SELECT id, number, org_id, worker_id, started_at, completed_at, 'succeeded', log FROM succeeded
ON CONFLICT DO NOTHING

-- :name record_inputs
-- Record the input versions that runs have read, as of their claims.
INSERT INTO knockon.task_inputs (org_id, task_id, input_dataset_uuid, input_partition_key, input_version)
SELECT %(org_id)s, r.* FROM unnest(%(tasks)b::uuid[], %(datasets)b::uuid[], %(keys)b::text[],
                     %(versions)b::timestamptz[]) AS r
ON CONFLICT (task_id, input_dataset_uuid, input_partition_key)
DO UPDATE SET input_version = EXCLUDED.input_version, version_before_raise = NULL

-- :name lock_dependents
-- Lock the blocked tasks that depend directly on these tasks. All transactions lock in one order,
-- so that of two blockers ending at once the later sees the earlier. Rows are fetched one by one,
-- here and below: a new wave has no statistics yet, and the query planner would take its tables for
-- empty. For the same reason, statements that look tasks up by id compare the status under
-- another collation: with that of the partial indexes, each would scan one of them, and the wave.
SELECT t.id
FROM (SELECT DISTINCT d.task_id FROM knockon.task_dependencies d
      WHERE d.depends_on = ANY(%(ended)s) ORDER BY d.task_id) AS d,
    LATERAL (SELECT t.id FROM knockon.tasks t
             WHERE t.id = d.task_id AND t.status COLLATE "C" = 'blocked' FOR UPDATE) AS t

-- :name blocked_by
-- The blocked tasks, locked before, that depend on these tasks, with the jobs of both.
SELECT t.id, t.job_id, d.depends_on, b.job_id AS blocker_job_id
FROM unnest(%(blockers)s::uuid[]) AS v(id)
JOIN LATERAL (SELECT d.task_id, d.depends_on FROM knockon.task_dependencies d
              WHERE d.depends_on = v.id OFFSET 0) AS d ON true
JOIN LATERAL (SELECT t.id, t.job_id, t.status FROM knockon.tasks t
              WHERE t.id = d.task_id OFFSET 0) AS t ON t.status = 'blocked'
JOIN knockon.tasks b ON b.id = v.id

-- :name failed
-- The failed tasks of an org.
SELECT id FROM knockon.tasks WHERE org_id = %(org_id)s AND status = 'failed'

-- :name failed_among
-- The failed tasks among some, and those for which any of them waits, directly or further upstream.
WITH RECURSIVE upstream AS (
    SELECT t.id, t.status FROM knockon.tasks t WHERE t.id = ANY(%(ids)s::uuid[])
    UNION
    SELECT b.id, b.status FROM upstream u
    JOIN knockon.task_dependencies d ON d.task_id = u.id
    JOIN knockon.tasks b ON b.id = d.depends_on
    WHERE u.status = 'blocked'
)
SELECT id FROM upstream WHERE status = 'failed'

-- :name delete_dependencies
-- Delete dependencies of tasks that run without the result of a failed task.
DELETE FROM knockon.task_dependencies d
USING unnest(%(tasks)s::uuid[], %(blockers)s::uuid[]) AS v(task, blocker)
WHERE d.task_id = v.task AND d.depends_on = v.blocker

-- :name propagate_nothing
-- Let tasks invalidate all of their changes on completion, because readers do not wait for them.
UPDATE knockon.tasks SET propagated = '{}' WHERE id = ANY(%(ids)s)

-- :name read_all_rows
-- Let blocked tasks of these jobs, locked before, read all rows if they depend on an ended task
-- through this dataset.
UPDATE knockon.tasks t SET row_filters = '[null]'
FROM unnest(%(ended)s::uuid[], %(datasets)s::uuid[], %(jobs)s::uuid[]) AS v(ended, dataset, job)
JOIN LATERAL (SELECT d.task_id, d.datasets FROM knockon.task_dependencies d
              WHERE d.depends_on = v.ended OFFSET 0) AS d ON v.dataset = ANY(d.datasets)
JOIN LATERAL (SELECT b.id, b.job_id, b.status FROM knockon.tasks b
              WHERE b.id = d.task_id OFFSET 0) AS b ON b.job_id = v.job AND b.status = 'blocked'
WHERE t.id = b.id
RETURNING t.job_id

-- :name forget_propagated
-- Let unfinished tasks of these jobs propagate all of their changes on completion, because their
-- plans have pruned changes that now reach a reader.
UPDATE knockon.tasks SET propagated = '{}'
WHERE job_id = ANY(%(jobs)s) AND status IN ('blocked', 'queued', 'running', 'failed')
  AND propagated IS NOT NULL

-- :name triggered_dependents
-- The blocked tasks, locked before, that depend on these tasks over triggering edges.
SELECT d.depends_on, d.datasets, t.id, t.job_id, t.partitions
FROM unnest(%(ended)s::uuid[]) AS v(id)
JOIN LATERAL (SELECT d.task_id, d.depends_on, d.datasets FROM knockon.task_dependencies d
              WHERE d.depends_on = v.id AND d.datasets <> '{}' OFFSET 0) AS d ON true
JOIN LATERAL (SELECT t.id, t.job_id, t.partitions, t.status FROM knockon.tasks t
              WHERE t.id = d.task_id OFFSET 0) AS t ON t.status = 'blocked'

-- :name unblock
-- Queue tasks without unfinished blockers if they must run, else skip them. First runs of jobs that
-- wait for inputs stay blocked until their inputs are checked.
WITH c AS MATERIALIZED (
    SELECT b.id, j.waits_for_inputs,
        b.must_run OR b.id = ANY(%(triggered)b::uuid[]) OR EXISTS (SELECT FROM knockon.task_dependencies d
            WHERE d.task_id = b.id AND d.datasets <> '{}'
              AND d.depends_on = ANY(%(changed)b::uuid[])) AS must_run,
        EXISTS (SELECT FROM knockon.task_dependencies d
            WHERE d.task_id = b.id
              AND (SELECT f.status FROM knockon.tasks f WHERE f.id = d.depends_on)
                  IN ('blocked', 'queued', 'running', 'failed')) AS waits
    FROM unnest(%(ids)s::uuid[]) AS v(id)
    JOIN LATERAL (SELECT b.id, b.job_id, b.status, b.must_run FROM knockon.tasks b
                  WHERE b.id = v.id OFFSET 0) AS b ON b.status = 'blocked'
    JOIN knockon.jobs j ON j.id = b.job_id
)
UPDATE knockon.tasks t
SET must_run = c.must_run,
    status = CASE WHEN c.waits OR (c.must_run AND c.waits_for_inputs) THEN 'blocked'
                  WHEN c.must_run THEN 'queued' ELSE 'skipped' END,
    queued_at = clock_timestamp(),
    completed_at = CASE WHEN c.waits OR c.must_run THEN NULL ELSE clock_timestamp() END,
    outcome = CASE WHEN c.waits OR c.must_run THEN NULL
                   ELSE 'no input has changed' END,
    waiting_for = NULL
FROM c
WHERE t.id = c.id AND (NOT c.waits OR c.must_run <> t.must_run)
RETURNING t.id, t.job_id, t.block_key, t.partitions, t.row_filters, t.status, t.must_run,
    c.waits_for_inputs AND NOT c.waits AS waits_for_inputs

-- :name queue_stale
-- Queue tasks that were about to be skipped, because their partitions are stale.
UPDATE knockon.tasks SET must_run = true, status = 'queued', queued_at = clock_timestamp(), completed_at = NULL,
    outcome = NULL
WHERE id = ANY(%(ids)s)

-- :name wait_for_inputs
-- Block a first run that was about to be queued or skipped, and record its missing inputs.
UPDATE knockon.tasks
SET must_run = true, status = 'blocked', completed_at = NULL, outcome = NULL, waiting_for = %(waiting_for)s
WHERE id = %(id)s

-- :name queue_first_runs
-- Queue first runs with enough existing inputs.
UPDATE knockon.tasks SET status = 'queued', queued_at = clock_timestamp(), waiting_for = NULL
WHERE id = ANY(%(ids)s) AND status COLLATE "C" = 'blocked'

-- :name lock_running
-- Lock a running task by its current lease token, to record a failed attempt.
SELECT id, job_id, block_key, attempts, partitions FROM knockon.tasks
WHERE id = %(id)s AND lease_token = %(token)s FOR UPDATE

-- :name lock_expired
-- Lock running tasks with expired leases, after an id.
SELECT id, job_id, block_key, attempts, partitions, worker_id, lease_expires_at FROM knockon.tasks
WHERE org_id = %(org_id)s AND status = 'running' AND lease_expires_at < clock_timestamp()
  AND id > %(after)s
ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED

-- :name lock_successor
-- Lock the unstarted task that a later change has queued for the same block.
SELECT id FROM knockon.tasks
WHERE job_id = %(job_id)s AND block_key = %(block_key)s AND status IN ('blocked', 'queued') FOR UPDATE

-- :name retry_later
-- Queue a task again after a failed attempt, with a delay.
UPDATE knockon.tasks
SET status = 'queued', lease_token = NULL, lease_expires_at = NULL, error_message = %(error)s,
    next_retry_at = clock_timestamp() + %(backoff_seconds)s * interval '1 second',
    queued_at = clock_timestamp() + %(backoff_seconds)s * interval '1 second'
WHERE id = %(id)s

-- :name give_up
-- Mark a task as failed after its last attempt; its dependents stay blocked.
UPDATE knockon.tasks
SET status = 'failed', lease_token = NULL, lease_expires_at = NULL, error_message = %(error)s,
    completed_at = clock_timestamp(), outcome = %(outcome)s
WHERE id = %(id)s

-- :name reject
-- Mark a queued task that cannot be leased as failed; its dependents stay blocked.
UPDATE knockon.tasks
SET status = 'failed', error_message = %(error)s, completed_at = clock_timestamp(),
    outcome = %(outcome)s
WHERE id = %(id)s AND status COLLATE "C" = 'queued'

-- :name hand_over
-- Cancel a task that ended without a result, and move its work and its dependents to its successor.
WITH rewired AS (
    INSERT INTO knockon.task_dependencies AS o (org_id, task_id, depends_on, datasets)
    SELECT d.org_id, d.task_id, %(successor)s, d.datasets FROM knockon.task_dependencies d
    WHERE d.depends_on = %(id)s AND d.task_id <> %(successor)s
    ON CONFLICT (task_id, depends_on) DO UPDATE SET datasets = o.datasets || excluded.datasets
    WHERE NOT excluded.datasets <@ o.datasets
), ended AS (
    UPDATE knockon.tasks SET status = 'canceled', lease_token = NULL, lease_expires_at = NULL,
        completed_at = clock_timestamp(), error_message = %(error)s,
        outcome = 'its work passed to task ' || %(successor)s
    WHERE id = %(id)s
    RETURNING partitions, block_key, row_filters, propagated, plan_ids, plans_dropped_to
)
UPDATE knockon.tasks t
SET must_run = true,
    partitions = ARRAY(SELECT DISTINCT p FROM unnest(t.partitions || e.partitions) AS p ORDER BY p),
    row_filters = (SELECT CASE WHEN bool_or(f = 'null') OR count(*) > %(max_filters)s
                               OR sum(length(f::text)) > 100000 THEN '[null]'
                               ELSE coalesce(jsonb_agg(f), '[]') END
                   FROM (SELECT DISTINCT f
                         FROM jsonb_array_elements(t.row_filters || e.row_filters) AS f) AS d),
    propagated = knockon.merge_propagated(t.propagated, e.propagated,
        t.block_key = '*' OR t.partitions = e.partitions),
    plan_ids = p.ids[greatest(cardinality(p.ids) - 99, 1):],
    plans_dropped_to = greatest(e.plans_dropped_to, t.plans_dropped_to,
        p.ids[cardinality(p.ids) - 100])
FROM ended e, knockon.tasks s, LATERAL (SELECT e.plan_ids || s.plan_ids AS ids) AS p
WHERE t.id = %(successor)s AND s.id = t.id

-- :name lock_one
-- Lock a task for an operator action.
SELECT id, job_id, block_key, status, partitions, row_filters FROM knockon.tasks
WHERE org_id = %(org_id)s AND id = %(id)s FOR UPDATE

-- :name requeue
-- Queue failed tasks again for an operator; they run regardless of their inputs.
UPDATE knockon.tasks
SET status = 'queued', queued_at = clock_timestamp(), must_run = true, attempts = 0,
    earlier_attempts = earlier_attempts + attempts, next_retry_at = NULL, completed_at = NULL,
    outcome = NULL
WHERE id = ANY(%(ids)s)

-- :name lock_failed
-- Lock failed tasks after an id, of one job or (null) of all jobs, of one DAG or (null) any.
SELECT t.id FROM knockon.tasks t JOIN knockon.jobs j ON j.id = t.job_id
WHERE t.org_id = %(org_id)s AND t.status = 'failed' AND t.id > %(after)s
  AND (%(job)s::text IS NULL OR j.name = %(job)s)
  AND (%(dag)s::text IS NULL OR j.dag_name = %(dag)s)
  AND (%(hidden)s::text[] IS NULL OR j.dag_name || '.' || j.name <> ALL(%(hidden)s::text[]))
ORDER BY t.id LIMIT %(limit)s
FOR UPDATE OF t

-- :name matching
-- Unfinished tasks in some statuses after an id, of one job or (null) of all jobs, of one DAG or (null)
-- any.
SELECT t.id FROM knockon.tasks t JOIN knockon.jobs j ON j.id = t.job_id
WHERE t.org_id = %(org_id)s AND t.id > %(after)s
  AND t.status IN ('blocked', 'queued', 'running', 'failed')
  AND t.status = ANY(%(statuses)s::text[])
  AND (%(job)s::text IS NULL OR j.name = %(job)s)
  AND (%(dag)s::text IS NULL OR j.dag_name = %(dag)s)
  AND (%(hidden)s::text[] IS NULL OR j.dag_name || '.' || j.name <> ALL(%(hidden)s::text[]))
ORDER BY t.id LIMIT %(limit)s

-- :name lock_in_statuses
-- Lock tasks that are still in some statuses, in the order in which completions lock.
SELECT t.id, t.job_id, t.block_key, t.status, t.partitions, t.row_filters
FROM knockon.tasks t
WHERE t.id = ANY(%(ids)s) AND t.status COLLATE "C" = ANY(%(statuses)s::text[])
ORDER BY t.status = 'running' DESC, t.status = 'queued' DESC, t.id
FOR UPDATE OF t

-- :name retried
-- A task to be retried, finished or not.
SELECT t.id, t.dag_name, t.job_name AS job, t.status, t.partitions
FROM knockon.all_tasks t
WHERE t.org_id = %(org_id)s AND t.id = %(id)s

-- :name newer
-- Newer tasks for partitions of a task that will build them or have built them.
SELECT t.id, t.status, t.partitions
FROM knockon.all_tasks t
WHERE t.org_id = %(org_id)s AND t.job_name = %(job)s AND t.dag_name = %(dag)s AND t.id > %(id)s
  AND (t.status IN ('blocked', 'queued', 'running', 'failed') OR t.status = 'succeeded')
  AND (t.block_key = '*' OR t.partitions && %(partitions)s::text[])
ORDER BY t.id

-- :name cancel
-- Cancel tasks.
UPDATE knockon.tasks
SET status = 'canceled', lease_token = NULL, lease_expires_at = NULL,
    completed_at = clock_timestamp(), outcome = %(outcome)s, waiting_for = NULL
WHERE id = ANY(%(ids)s) AND status COLLATE "C" IN ('blocked', 'queued', 'running', 'failed')

-- :name repoint
-- Move unfinished tasks of jobs retained by a deploy to the new job rows, which may have another
-- runtime or priority.
UPDATE knockon.tasks SET job_id = j.id, runtime = j.runtime,
    priority = v.priority
FROM unnest(%(old)s::uuid[], %(new)s::uuid[], %(priorities)s::int[]) AS v(old, new, priority)
JOIN knockon.jobs j ON j.id = v.new
WHERE job_id = v.old AND status IN ('blocked', 'queued', 'running', 'failed')

-- :name cancel_of_jobs
-- Cancel unfinished tasks of some jobs, with their attempts: these, or (null) all.
WITH unfinished AS MATERIALIZED (
    SELECT id, status FROM knockon.tasks
    WHERE job_id = ANY(%(jobs)s) AND status IN ('blocked', 'queued', 'running', 'failed')
      AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[]))
    ORDER BY id FOR UPDATE
), canceled AS (
    UPDATE knockon.tasks t
    SET status = 'canceled', lease_token = NULL, lease_expires_at = NULL,
        completed_at = clock_timestamp(), outcome = %(outcome)s, waiting_for = NULL
    FROM unfinished u WHERE t.id = u.id
    RETURNING t.id, t.org_id, (SELECT name FROM knockon.jobs WHERE jobs.id = t.job_id) AS job,
        t.partitions, t.attempts, t.earlier_attempts, t.worker_id, t.started_at, t.completed_at,
        t.must_run, u.status = 'running' AS was_running
), ended AS (
    INSERT INTO knockon.task_attempts
        (task_id, number, org_id, worker_id, started_at, ended_at, outcome, log)
    SELECT id, earlier_attempts + attempts, org_id, worker_id, started_at, completed_at, 'canceled', ''
    FROM canceled WHERE was_running
    ON CONFLICT DO NOTHING
)
SELECT id, job, partitions, attempts, must_run FROM canceled

-- :name lock_open
-- Lock the unfinished tasks of a job.
SELECT id, status, partitions FROM knockon.tasks
WHERE job_id = %(job)s AND status IN ('blocked', 'queued', 'running', 'failed')
ORDER BY id FOR UPDATE

-- :name trim
-- Leave a task that is not running with these partitions.
UPDATE knockon.tasks SET partitions = %(partitions)s
WHERE id = %(id)s AND status COLLATE "C" IN ('blocked', 'queued', 'failed')

-- :name block_first_runs
-- Block the unstarted tasks of jobs that wait for inputs, so that their inputs are checked again.
UPDATE knockon.tasks t SET status = 'blocked'
FROM knockon.jobs j
WHERE t.job_id = ANY(%(jobs)s) AND j.id = t.job_id AND j.waits_for_inputs AND t.status = 'queued'
RETURNING t.id

-- :name lock_waiting_for_inputs
-- Lock tasks of jobs that wait for inputs only, and for no other task.
SELECT id FROM knockon.tasks
WHERE job_id = ANY(%(jobs)s) AND status = 'blocked' AND waiting_for IS NOT NULL
ORDER BY id FOR UPDATE

-- :name list
-- The newest tasks before an id.
SELECT t.id, t.dag_name, t.job_name AS job, t.block_key, t.status, t.partitions, t.must_run, t.attempts,
       t.worker_id, t.created_at, t.started_at, t.completed_at, t.next_retry_at, t.error_message,
       t.outcome, t.waiting_for, t.plan_ids
FROM knockon.all_tasks t
WHERE t.org_id = %(org_id)s
  AND (%(statuses)s::text[] IS NULL OR t.status = ANY(%(statuses)s))
  AND (%(job)s::text IS NULL OR t.job_name = %(job)s)
  AND (%(dag)s::text IS NULL OR t.dag_name = %(dag)s)
  AND (%(partition)s::text IS NULL OR t.partitions @> ARRAY[%(partition)s::text])
  AND (%(hidden)s::text[] IS NULL OR t.dag_name || '.' || t.job_name <> ALL(%(hidden)s::text[]))
  AND t.id < %(before)s
ORDER BY t.id DESC LIMIT %(limit)s

-- :name by_id
-- One task, with the id of its job and its row filters.
SELECT t.id, t.dag_name, t.job_name AS job, t.block_key, t.status, t.partitions, t.must_run, t.attempts,
       t.worker_id, t.created_at, t.started_at, t.completed_at, t.next_retry_at, t.error_message,
       t.outcome, t.waiting_for, t.plan_ids, t.job_id, t.row_filters
FROM knockon.all_tasks t
WHERE t.org_id = %(org_id)s AND t.id = %(id)s

-- :name inputs
-- The input versions recorded for a task.
SELECT d.name AS dataset, i.input_partition_key, i.input_version
FROM knockon.task_inputs i JOIN knockon.datasets d ON d.id = i.input_dataset_uuid
WHERE i.task_id = %(id)s ORDER BY 1, 2

-- :name blockers
-- The tasks that a task depends on, finished or not.
SELECT f.id, f.job_name AS job, f.block_key, f.status, f.outcome, f.error_message, f.dag_name
FROM knockon.all_tasks f
WHERE f.id = ANY((SELECT t.blockers FROM knockon.all_tasks t WHERE t.id = %(id)s)::uuid[])
ORDER BY f.id

-- :name counts
-- The number of tasks in each state: of all unfinished tasks, and of those that finished of the tasks
-- created in the last 24 hours.
SELECT status, count(*) AS tasks FROM knockon.tasks
WHERE org_id = %(org_id)s AND status IN ('blocked', 'queued', 'running', 'failed') GROUP BY status
UNION ALL
SELECT status, count(*) AS tasks FROM knockon.all_tasks
WHERE org_id = %(org_id)s AND status IN ('succeeded', 'skipped', 'canceled')
  AND id >= knockon.first_id_at(now() - interval '1 day') GROUP BY status

-- :name unfinished_by_job
-- The number of unfinished tasks of each job and status.
SELECT job_id, status, count(*) AS tasks FROM knockon.tasks
WHERE org_id = %(org_id)s AND status IN ('blocked', 'queued', 'running', 'failed')
GROUP BY job_id, status
