-- :name lock_live
-- Everything unfinished in these slots (or in any slot of a job, for slot ''), locked, so that
-- none of it starts or ends while a plan decides to join it, queue behind it or wait for it.
-- Running ones first, as completion locks: its own task, then what waits behind.
SELECT t.id, t.job_id, t.slot, t.status
FROM knockon.tasks t
WHERE t.status IN ('blocked', 'queued', 'running', 'failed')
  AND (t.job_id, t.slot) IN (
      SELECT u.job_id, u.slot
      FROM unnest(%(jobs)b::text[]::uuid[], %(slots)b::text[]) AS u(job_id, slot))
ORDER BY t.status = 'running' DESC, t.id
FOR UPDATE

-- :name lock_live_of_jobs
-- The same for whole jobs, where their slots cannot be told.
SELECT t.id, t.job_id, t.slot, t.status
FROM knockon.tasks t
WHERE t.status IN ('blocked', 'queued', 'running', 'failed')
  AND t.job_id = ANY(%(jobs)b::text[]::uuid[])
ORDER BY t.status = 'running' DESC, t.id
FOR UPDATE

-- :name copy_in
-- New tasks of a plan.
COPY knockon.tasks (id, job_id, status, partitions, org_id, runtime, priority, slot, hit, row_filters,
            propagated, plan_ids) FROM STDIN (FORMAT binary)

-- :name copy_dependencies
-- What new tasks wait for.
COPY knockon.task_dependencies (task_id, depends_on, datasets) FROM STDIN (FORMAT binary)

-- :name join
-- A new plan joins tasks that have not started; a failed one owes its work still, and comes back.
-- What a held one waits for besides is looked at when it has nothing in front any more. Row filters that
-- are too many or too large are widened to all rows, and of the plans the newest 100 are kept.
UPDATE knockon.tasks t
SET status = CASE WHEN t.status = 'blocked' OR v.blocked THEN 'blocked' ELSE 'queued' END,
    hit = t.hit OR v.hit OR t.status = 'failed',
    attempts = CASE WHEN t.status = 'failed' THEN 0 ELSE t.attempts END,
    next_retry_at = CASE WHEN t.status = 'failed' THEN NULL ELSE t.next_retry_at END,
    queued_at = CASE WHEN t.status = 'failed' THEN clock_timestamp() ELSE t.queued_at END,
    completed_at = NULL,
    outcome = NULL,
    waiting_for = NULL,
    partitions = ARRAY(SELECT DISTINCT p FROM unnest(
        t.partitions || ARRAY(SELECT jsonb_array_elements_text(v.partitions))) AS p ORDER BY p),
    row_filters = (SELECT CASE WHEN bool_or(f = 'null') OR count(*) > 50
                               OR sum(length(f::text)) > 100000 THEN '[null]'
                               ELSE coalesce(jsonb_agg(f), '[]') END
                   FROM (SELECT DISTINCT f
                         FROM jsonb_array_elements(t.row_filters || v.row_filters) AS f) AS d),
    propagated = knockon.merge_propagated(t.propagated, v.propagated, t.slot = '*'
        OR t.partitions = ARRAY(SELECT jsonb_array_elements_text(v.partitions))),
    plan_ids = t.plan_ids[greatest(cardinality(t.plan_ids) - 98, 1):] || %(plan_id)s::uuid,
    plans_dropped_to = CASE WHEN cardinality(t.plan_ids) >= 100
        THEN t.plan_ids[cardinality(t.plan_ids) - 99] ELSE t.plans_dropped_to END
FROM jsonb_to_recordset(%(rows)s) AS v(id uuid, hit boolean, blocked boolean, partitions jsonb,
    row_filters jsonb, propagated jsonb)
WHERE t.id = v.id

-- :name add_dependencies
-- What joined tasks wait for besides.
INSERT INTO knockon.task_dependencies AS d (task_id, depends_on, datasets)
SELECT v.task_id, v.depends_on, coalesce(v.datasets, '{}')
FROM jsonb_to_recordset(%(rows)s) AS v(task_id uuid, depends_on uuid, datasets uuid[])
ON CONFLICT (task_id, depends_on) DO UPDATE SET datasets = d.datasets || excluded.datasets
WHERE NOT excluded.datasets <@ d.datasets

-- :name candidates
-- Queued tasks whose time has come, the most urgent first, with no sibling running. Each runtime by
-- itself, so that the index gives them in order and a long queue costs no more than a short one.
SELECT t.id, t.job_id, t.slot, t.partitions, t.row_filters, t.attempts
FROM unnest(%(runtimes)s::text[]) AS served(runtime), LATERAL (
    SELECT t.id, t.job_id, t.slot, t.partitions, t.row_filters, t.attempts, t.priority
    FROM knockon.tasks t
    WHERE t.org_id = %(org_id)s AND t.status = 'queued' AND t.runtime = served.runtime
      AND (t.next_retry_at IS NULL OR t.next_retry_at <= clock_timestamp())
      AND NOT t.job_id = ANY(%(closed)s)
      AND NOT EXISTS (SELECT FROM knockon.tasks r
                      WHERE r.job_id = t.job_id AND r.slot = t.slot AND r.status = 'running')
    ORDER BY t.priority DESC, t.id
    LIMIT %(limit)s
    FOR UPDATE OF t SKIP LOCKED) AS t
ORDER BY t.priority DESC, t.id
LIMIT %(limit)s

-- :name try_caps
-- Only one claimer at a time counts the running tasks of a capped job.
SELECT j AS job_id FROM unnest(%(jobs)s::uuid[]) AS j
WHERE pg_try_advisory_xact_lock(hashtextextended('knockon.cap ' || j::text, 0))

-- :name running
-- How many tasks of each capped job run now.
SELECT job_id, count(*) AS running FROM knockon.tasks
WHERE status = 'running' AND job_id = ANY(%(jobs)s) GROUP BY job_id

-- :name lease
-- The claim itself: a token, one more attempt, and the stamps that the inputs bear.
UPDATE knockon.tasks t
SET status = 'running', lease_token = gen_random_uuid(), worker_id = %(worker_id)s,
    attempts = t.attempts + 1, started_at = clock_timestamp(), last_heartbeat = clock_timestamp(),
    lease_expires_at = clock_timestamp() + v.lease_seconds * interval '1 second',
    input_versions = v.input_versions, next_retry_at = NULL, error_message = NULL
FROM unnest(%(ids)b::uuid[], %(lease_seconds)b::int[], %(input_versions)b::jsonb[])
    AS v(id, lease_seconds, input_versions)
WHERE t.id = v.id AND t.status = 'queued'
RETURNING t.id, t.lease_token, t.attempts, t.lease_expires_at,
    extract(epoch FROM t.started_at - t.queued_at)::float8 AS waited_seconds

-- :name heartbeat
-- Leases of workers that are still at it last longer.
UPDATE knockon.tasks t
SET last_heartbeat = clock_timestamp(),
    lease_expires_at = clock_timestamp() + v.lease_seconds * interval '1 second'
FROM unnest(%(ids)b::uuid[], %(tokens)b::uuid[], %(lease_seconds)b::int[])
    AS v(id, token, lease_seconds)
WHERE t.id = v.id AND t.lease_token = v.token AND t.status = 'running'
RETURNING t.id, t.lease_expires_at

-- :name lock_held
-- The running tasks whose current token is shown, so that nobody else ends them meanwhile.
SELECT t.id, t.lease_token, t.propagated
FROM knockon.tasks t JOIN unnest(%(ids)b::uuid[], %(tokens)b::uuid[]) AS v(id, token) ON t.id = v.id
WHERE t.lease_token = v.token AND t.status = 'running'
FOR UPDATE OF t

-- :name succeed
-- The lease ends here, whoever still believes to hold it.
UPDATE knockon.tasks t
SET status = 'succeeded', completed_at = clock_timestamp(), outputs = v.outputs,
    outcome = CASE WHEN v.has_changed THEN 'changed' ELSE 'unchanged' END,
    lease_token = NULL, lease_expires_at = NULL
FROM unnest(%(ids)b::uuid[], %(outputs)b::jsonb[], %(has_changed)b::bool[])
    AS v(id, outputs, has_changed)
WHERE t.id = v.id

-- :name record_inputs
-- What each run read, by the stamps that it found at its claim.
INSERT INTO knockon.task_inputs (task_id, input_dataset_uuid, input_partition_key, input_version)
SELECT * FROM unnest(%(tasks)b::uuid[], %(datasets)b::uuid[], %(keys)b::text[],
                     %(stamps)b::timestamptz[])
ON CONFLICT (task_id, input_dataset_uuid, input_partition_key)
DO UPDATE SET input_version = EXCLUDED.input_version

-- :name lock_dependants
-- What waits directly behind these tasks, locked in one order by everyone, so that of two tasks
-- in front that end at once the later sees the earlier. Task by task, and so in the statements
-- below: a new wave has no statistics yet, and the planner must not take that for an empty table.
SELECT t.id
FROM (SELECT DISTINCT d.task_id FROM knockon.task_dependencies d
      WHERE d.depends_on = ANY(%(ended)s) ORDER BY d.task_id) AS d,
    LATERAL (SELECT t.id FROM knockon.tasks t
             WHERE t.id = d.task_id AND t.status = 'blocked' FOR UPDATE) AS t

-- :name behind
-- What waits directly behind these tasks, locked already, with what it is to make.
SELECT d.depends_on, d.datasets, t.id, t.job_id, t.partitions
FROM knockon.task_dependencies d JOIN knockon.tasks t ON t.id = d.task_id AND t.status = 'blocked'
WHERE d.depends_on = ANY(%(ended)s) AND d.datasets <> '{}'

-- :name settle
-- With nothing open left in front a task is queued if anything hit it, else skipped.
WITH c AS MATERIALIZED (
    SELECT b.id, j.holds,
        b.hit OR b.id = ANY(%(hit)b::uuid[]) OR EXISTS (SELECT FROM knockon.task_dependencies d
            WHERE d.task_id = b.id AND d.datasets <> '{}'
              AND d.depends_on = ANY(%(changed)b::uuid[])) AS hit,
        EXISTS (SELECT FROM knockon.task_dependencies d
            WHERE d.task_id = b.id
              AND (SELECT f.status FROM knockon.tasks f WHERE f.id = d.depends_on)
                  IN ('blocked', 'queued', 'running', 'failed')) AS waits
    FROM unnest(%(ids)s::uuid[]) AS v(id)
    JOIN knockon.tasks b ON b.id = v.id AND b.status = 'blocked'
    JOIN knockon.jobs j ON j.id = b.job_id
)
UPDATE knockon.tasks t
SET hit = c.hit,
    status = CASE WHEN c.waits OR (c.hit AND c.holds) THEN 'blocked'
                  WHEN c.hit THEN 'queued' ELSE 'skipped' END,
    queued_at = clock_timestamp(),
    completed_at = CASE WHEN c.waits OR c.hit THEN NULL ELSE clock_timestamp() END,
    outcome = CASE WHEN c.waits OR c.hit THEN NULL
                   ELSE 'nothing that it reads came out changed' END
FROM c
WHERE t.id = c.id AND (NOT c.waits OR c.hit <> t.hit)
RETURNING t.id, t.job_id, t.slot, t.partitions, t.row_filters, t.status, t.hit,
    c.holds AND NOT c.waits AS held

-- :name queue_stale
-- They are not skipped after all.
UPDATE knockon.tasks SET hit = true, status = 'queued', queued_at = clock_timestamp(), completed_at = NULL,
    outcome = NULL
WHERE id = ANY(%(ids)s)

-- :name hold
-- A first run that waits for inputs says for which.
UPDATE knockon.tasks SET waiting_for = %(waiting_for)s WHERE id = %(id)s AND status = 'blocked'

-- :name unhold
-- Enough of its inputs exist.
UPDATE knockon.tasks SET status = 'queued', queued_at = clock_timestamp(), waiting_for = NULL
WHERE id = ANY(%(ids)s) AND status = 'blocked'

-- :name lock_running
-- A failed attempt: only with the current token.
SELECT id, job_id, slot, attempts, partitions FROM knockon.tasks
WHERE id = %(id)s AND lease_token = %(token)s AND status = 'running' FOR UPDATE

-- :name lock_expired
-- Running tasks whose worker has not been heard of in time.
SELECT id, job_id, slot, attempts, partitions, worker_id, lease_expires_at FROM knockon.tasks
WHERE org_id = %(org_id)s AND status = 'running' AND lease_expires_at < clock_timestamp()
ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED

-- :name lock_successor
-- The unstarted task of the same slot, if a later change has queued one behind.
SELECT id FROM knockon.tasks
WHERE job_id = %(job_id)s AND slot = %(slot)s AND status IN ('blocked', 'queued') FOR UPDATE

-- :name retry_later
-- The attempt failed; the next one comes after a while.
UPDATE knockon.tasks
SET status = 'queued', lease_token = NULL, lease_expires_at = NULL, error_message = %(error)s,
    next_retry_at = clock_timestamp() + %(backoff_seconds)s * interval '1 second',
    queued_at = clock_timestamp() + %(backoff_seconds)s * interval '1 second'
WHERE id = %(id)s

-- :name give_up
-- The last attempt failed; what waits behind goes on waiting.
UPDATE knockon.tasks
SET status = 'failed', lease_token = NULL, lease_expires_at = NULL, error_message = %(error)s,
    completed_at = clock_timestamp(), outcome = %(outcome)s
WHERE id = %(id)s

-- :name reject
-- A queued task that cannot even be claimed; what waits behind goes on waiting.
UPDATE knockon.tasks
SET status = 'failed', error_message = %(error)s, completed_at = clock_timestamp(),
    outcome = %(outcome)s
WHERE id = %(id)s AND status = 'queued'

-- :name hand_over
-- A task that ended without its work done leaves it, and those who wait for it, to its successor.
WITH rewired AS (
    INSERT INTO knockon.task_dependencies AS o (task_id, depends_on, datasets)
    SELECT d.task_id, %(successor)s, d.datasets FROM knockon.task_dependencies d
    WHERE d.depends_on = %(id)s AND d.task_id <> %(successor)s
    ON CONFLICT (task_id, depends_on) DO UPDATE SET datasets = o.datasets || excluded.datasets
    WHERE NOT excluded.datasets <@ o.datasets
), ended AS (
    UPDATE knockon.tasks SET status = 'canceled', lease_token = NULL, lease_expires_at = NULL,
        completed_at = clock_timestamp(), error_message = %(error)s,
        outcome = 'its work passed to task ' || %(successor)s
    WHERE id = %(id)s
    RETURNING partitions, slot, row_filters, propagated, plan_ids, plans_dropped_to
)
UPDATE knockon.tasks t
SET hit = true,
    partitions = ARRAY(SELECT DISTINCT p FROM unnest(t.partitions || e.partitions) AS p ORDER BY p),
    row_filters = (SELECT CASE WHEN bool_or(f = 'null') OR count(*) > 50
                               OR sum(length(f::text)) > 100000 THEN '[null]'
                               ELSE coalesce(jsonb_agg(f), '[]') END
                   FROM (SELECT DISTINCT f
                         FROM jsonb_array_elements(t.row_filters || e.row_filters) AS f) AS d),
    propagated = knockon.merge_propagated(t.propagated, e.propagated,
        t.slot = '*' OR t.partitions = e.partitions),
    plan_ids = p.ids[greatest(cardinality(p.ids) - 99, 1):],
    plans_dropped_to = greatest(e.plans_dropped_to, t.plans_dropped_to,
        p.ids[cardinality(p.ids) - 100])
FROM ended e, knockon.tasks s, LATERAL (SELECT e.plan_ids || s.plan_ids AS ids) AS p
WHERE t.id = %(successor)s AND s.id = t.id

-- :name lock_one
-- One task, for an operator's order.
SELECT id, job_id, slot, status, partitions, row_filters FROM knockon.tasks
WHERE org_id = %(org_id)s AND id = %(id)s FOR UPDATE

-- :name requeue
-- By hand: failed or canceled tasks start over; they must run, whatever their inputs did.
UPDATE knockon.tasks
SET status = 'queued', queued_at = clock_timestamp(), hit = true, attempts = 0,
    next_retry_at = NULL, completed_at = NULL, outcome = NULL
WHERE id = ANY(%(ids)s)

-- :name lock_failed
-- Some failed tasks: those after an id, of one job or (null) of any.
SELECT t.id FROM knockon.tasks t JOIN knockon.jobs j ON j.id = t.job_id
WHERE t.org_id = %(org_id)s AND t.status = 'failed' AND t.id > %(after)s
  AND (%(job)s::text IS NULL OR j.name = %(job)s)
ORDER BY t.id LIMIT %(limit)s
FOR UPDATE OF t

-- :name cancel
-- These end undone.
UPDATE knockon.tasks
SET status = 'canceled', lease_token = NULL, lease_expires_at = NULL,
    completed_at = clock_timestamp(), outcome = %(outcome)s, waiting_for = NULL
WHERE id = ANY(%(ids)s) AND status IN ('blocked', 'queued', 'running', 'failed')
RETURNING id

-- :name repoint
-- Unfinished tasks of a job that a deploy left as it was go on under its new row, which may have
-- another runtime and priority.
UPDATE knockon.tasks SET job_id = j.id, runtime = j.runtime,
    priority = coalesce((j.scaling ->> 'priority')::int, 0)
FROM unnest(%(old)s::uuid[], %(new)s::uuid[]) AS v(old, new)
JOIN knockon.jobs j ON j.id = v.new
WHERE job_id = v.old AND status IN ('blocked', 'queued', 'running', 'failed')

-- :name cancel_of_jobs
-- All unfinished tasks of some jobs end undone.
UPDATE knockon.tasks
SET status = 'canceled', lease_token = NULL, lease_expires_at = NULL,
    completed_at = clock_timestamp(), outcome = %(outcome)s, waiting_for = NULL
WHERE job_id = ANY(%(jobs)s) AND status IN ('blocked', 'queued', 'running', 'failed')
RETURNING id, (SELECT name FROM knockon.jobs WHERE jobs.id = job_id) AS job, partitions, attempts

-- :name hold_again
-- Unstarted tasks of jobs that hold first runs back; whether they wait is looked at anew.
UPDATE knockon.tasks t SET status = 'blocked'
FROM knockon.jobs j
WHERE t.job_id = ANY(%(jobs)s) AND j.id = t.job_id AND j.holds AND t.status = 'queued'
RETURNING t.id

-- :name lock_held_of_jobs
-- What waits for inputs only, and not for anything that is being made.
SELECT id FROM knockon.tasks
WHERE job_id = ANY(%(jobs)s) AND status = 'blocked' AND waiting_for IS NOT NULL
ORDER BY id FOR UPDATE

-- :name list
-- The newest tasks, for people.
SELECT t.id, j.dag_name, j.name AS job, t.slot, t.status, t.partitions, t.hit, t.attempts,
       t.worker_id, t.created_at, t.started_at, t.completed_at, t.next_retry_at, t.error_message,
       t.outcome, t.waiting_for, t.plan_ids
FROM knockon.tasks t JOIN knockon.jobs j ON j.id = t.job_id
WHERE t.org_id = %(org_id)s
  AND (%(statuses)s::text[] IS NULL OR t.status = ANY(%(statuses)s))
  AND (%(job)s::text IS NULL OR j.name = %(job)s)
  AND (%(partition)s::text IS NULL OR %(partition)s = ANY(t.partitions))
ORDER BY t.id DESC LIMIT %(limit)s

-- :name by_id
-- All of one task.
SELECT t.*, j.name AS job, j.dag_name FROM knockon.tasks t JOIN knockon.jobs j ON j.id = t.job_id
WHERE t.org_id = %(org_id)s AND t.id = %(id)s

-- :name inputs
-- What a task's run read.
SELECT d.name AS dataset, i.input_partition_key, i.input_version
FROM knockon.task_inputs i JOIN knockon.datasets d ON d.id = i.input_dataset_uuid
WHERE i.task_id = %(id)s ORDER BY 1, 2

-- :name in_front
-- What a task waits for, or waited for.
SELECT f.id, j.name AS job, f.slot, f.status, f.outcome, f.error_message
FROM knockon.task_dependencies d JOIN knockon.tasks f ON f.id = d.depends_on JOIN knockon.jobs j ON j.id = f.job_id
WHERE d.task_id = %(id)s ORDER BY f.id

-- :name counts
-- How many tasks there are in each state.
SELECT status, count(*) AS tasks FROM knockon.tasks WHERE org_id = %(org_id)s GROUP BY status

-- :name ring
-- A doorbell: it wakes, it carries no truth. It never fills the queue, since a commit that finds it
-- full fails: somebody else may listen within a transaction that does not end, and all loops poll.
SELECT pg_notify(%(bell)s, %(org_id)s::text) WHERE pg_notification_queue_usage() < 0.5
