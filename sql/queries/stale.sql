-- The evidence for staleness: the records of the run behind a partition, and the current inputs.

-- :name runs
-- The run behind each partition; one row per partition, without a task if it was never built.
SELECT p.task_id, p.config_hash, p.is_partly_written, p.is_declared_wrong, false AS has_unread_rows,
       false AS has_unread_new_rows
FROM unnest(%(datasets)b::uuid[], %(versions)b::uuid[], %(keys)b::text[]) WITH ORDINALITY
    AS g(dataset, version, key, n)
LEFT JOIN knockon.partition_versions p
    ON p.dataset_uuid = g.dataset AND p.dataset_version = g.version AND p.partition_key = g.key
ORDER BY g.n

-- :name last_runs
-- The last run behind each dataset version of a single-run job.
SELECT r.task_id, r.config_hash, r.is_partly_written, r.is_declared_wrong, r.has_unread_rows,
       r.has_unread_new_rows
FROM unnest(%(datasets)b::uuid[], %(versions)b::uuid[]) WITH ORDINALITY AS g(dataset, version, n)
LEFT JOIN knockon.single_runs r ON r.dataset_uuid = g.dataset AND r.dataset_version = g.version
ORDER BY g.n

-- :name have_ever_run
-- Those of the datasets that a run has built, in any dataset version.
SELECT dataset AS id FROM unnest(%(datasets)s::uuid[]) AS dataset
WHERE EXISTS (SELECT FROM knockon.single_runs r WHERE r.dataset_uuid = dataset)
   OR EXISTS (SELECT FROM knockon.partition_versions p
              WHERE p.dataset_uuid = dataset AND p.task_id IS NOT NULL)

-- :name record_single_run
-- Record a run that has built all partitions of these dataset versions. Decisions to leave them
-- stale end, except for those made during the run, or about rows that the run has not read. Rows of
-- a decision made during the run stay unread, because the run may have started before the change.
WITH undecided AS (
    DELETE FROM knockon.stale_decisions d
    USING unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g(dataset, version)
    WHERE d.dataset_uuid = g.dataset AND d.dataset_version = g.version
      AND d.running_task IS DISTINCT FROM %(task)s::uuid
      AND NOT EXISTS (
          SELECT FROM knockon.single_runs u
          WHERE u.dataset_uuid = d.dataset_uuid AND u.dataset_version = d.dataset_version
              AND (u.has_unread_rows AND NOT %(has_read_all_rows)s
                   OR u.has_unread_new_rows AND NOT %(has_read_new_rows)s))
), kept AS (
    SELECT EXISTS (
        SELECT FROM knockon.stale_decisions d
        JOIN unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g(dataset, version)
            ON d.dataset_uuid = g.dataset AND d.dataset_version = g.version
        WHERE d.running_task = %(task)s::uuid) AS is_decided
)
INSERT INTO knockon.single_runs AS r (org_id, dataset_uuid, dataset_version, task_id, config_hash)
SELECT %(org_id)s, dataset, version, %(task)s, %(config_hash)s
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g(dataset, version)
ON CONFLICT (dataset_uuid, dataset_version) DO UPDATE
SET task_id = EXCLUDED.task_id, config_hash = EXCLUDED.config_hash, is_partly_written = false,
    is_declared_wrong = false,
    has_unread_rows = r.has_unread_rows
        AND (NOT %(has_read_all_rows)s OR (SELECT is_decided FROM kept)),
    has_unread_new_rows = r.has_unread_new_rows
        AND (NOT %(has_read_new_rows)s OR (SELECT is_decided FROM kept))

-- :name leave_rows_unread
-- Record a decision against reading old rows again, or new rows, for these dataset versions.
UPDATE knockon.single_runs r SET has_unread_rows = r.has_unread_rows OR %(old_rows)s,
    has_unread_new_rows = r.has_unread_new_rows OR %(new_rows)s
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g(dataset, version)
WHERE r.dataset_uuid = g.dataset AND r.dataset_version = g.version

-- :name mark_single_runs_partly_written
-- Record that an attempt may have written any partition of these dataset versions of single-run
-- jobs.
UPDATE knockon.single_runs r SET is_partly_written = true
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g(dataset, version)
WHERE r.dataset_uuid = g.dataset AND r.dataset_version = g.version

-- :name declare_wrong
-- Mark existing partitions that a planned invalidation has declared wrong.
UPDATE knockon.partition_versions p SET is_declared_wrong = true
FROM unnest(%(keys)s::text[]) AS key
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s AND p.partition_key = key
  AND NOT p.is_declared_wrong

-- :name declare_single_run_wrong
-- The same for the partitions of a single-run job.
UPDATE knockon.single_runs r SET is_declared_wrong = true
WHERE r.dataset_uuid = %(dataset)s AND r.dataset_version = %(version)s

-- :name changed_inputs
-- The inputs of runs that have changed since or are gone (without a version). Of a dataset that is
-- not listed in ``reads`` all columns are read.
SELECT i.task_id, i.input_dataset_uuid AS dataset, i.input_partition_key AS key,
       i.input_version AS recorded,
       knockon.content_version_of(p.materialized_at, p.column_versions, r.columns) AS version,
       coalesce(p.row_changes, '[]') AS row_changes
FROM unnest(%(jobs)b::uuid[], %(tasks)b::uuid[]) AS run(job, task)
JOIN knockon.task_inputs i ON i.task_id = run.task
JOIN knockon.current_datasets c ON c.dataset_uuid = i.input_dataset_uuid
LEFT JOIN jsonb_to_recordset(%(reads)s) AS r(job uuid, dataset uuid, columns text[])
    ON r.job = run.job AND r.dataset = i.input_dataset_uuid
LEFT JOIN knockon.partition_versions p ON p.dataset_uuid = i.input_dataset_uuid
    AND p.dataset_version = c.dataset_version AND p.partition_key = i.input_partition_key
WHERE p.materialized_at > coalesce(i.input_version, '-infinity')
   OR (p.materialized_at IS NULL AND i.input_version IS NOT NULL)

-- :name changed_during_first_runs
-- Partitions of an input of a job that have changed, in these columns (null: in any) or in some rows,
-- since they were read by a first run in progress.
SELECT DISTINCT v.key
FROM knockon.tasks t
CROSS JOIN LATERAL jsonb_each_text(t.input_versions -> %(input)s::text) AS v(key, version)
JOIN knockon.partition_versions p ON p.dataset_uuid = %(input)s::uuid AND p.dataset_version = %(input_version)s
    AND p.partition_key = v.key AND p.materialized_at > v.version::timestamptz
WHERE t.job_id = %(job)s AND t.status = 'running'
  AND (p.row_changes IS NOT NULL OR v.version::timestamptz
       < knockon.content_version_of(p.materialized_at, p.column_versions, %(columns)s::text[]))
  AND NOT EXISTS (SELECT FROM knockon.single_runs u
                  WHERE u.dataset_uuid = %(output)s AND u.dataset_version = %(output_version)s)
  AND (t.partitions = '{}' OR EXISTS (
      SELECT FROM unnest(t.partitions) AS o(key)
      WHERE NOT EXISTS (SELECT FROM knockon.partition_versions b
                        WHERE b.dataset_uuid = %(output)s AND b.dataset_version = %(output_version)s
                          AND b.partition_key = o.key)))

-- :name unrecorded_inputs
-- Existing partitions that runs need but have not read. Each is needed by a range of the tasks; a
-- join with the tasks would be executed as a nested loop over all pairs.
SELECT needed.first_task, run.task AS task_id, needed.dataset, needed.key,
       p.materialized_at AS version
FROM unnest(%(first_tasks)b::int[], %(last_tasks)b::int[], %(datasets)b::uuid[],
            %(versions)b::uuid[], %(keys)b::text[])
    AS needed(first_task, last_task, dataset, version, key)
JOIN knockon.partition_versions p ON p.dataset_uuid = needed.dataset
    AND p.dataset_version = needed.version AND p.partition_key = needed.key
CROSS JOIN LATERAL unnest((%(tasks)b::uuid[])[needed.first_task:needed.last_task]) AS run(task)
WHERE NOT EXISTS (SELECT FROM knockon.task_inputs i
                  WHERE i.task_id = run.task AND i.input_dataset_uuid = needed.dataset
                    AND i.input_partition_key = needed.key)

-- :name open_tasks
-- Unfinished tasks for some partitions of a job; null keys select all partitions.
SELECT t.id, t.status, t.partitions FROM knockon.tasks t
WHERE t.job_id = %(job)s AND t.status IN ('blocked', 'queued', 'running', 'failed')
  AND (%(keys)s::text[] IS NULL
       OR EXISTS (SELECT FROM unnest(t.partitions) AS key WHERE key = ANY(%(keys)s::text[])))

-- :name stalled_tasks
-- Lock blocked tasks that nothing will unblock: no blocker is unfinished, and no missing inputs are
-- recorded.
SELECT t.id, t.job_id, t.partitions FROM knockon.tasks t
WHERE t.org_id = %(org_id)s AND t.job_id = ANY(%(jobs)s) AND t.status = 'blocked'
  AND t.waiting_for IS NULL
  AND NOT EXISTS (SELECT FROM knockon.task_dependencies d JOIN knockon.tasks f ON f.id = d.depends_on
                  WHERE d.task_id = t.id
                    AND f.status COLLATE "C" IN ('blocked', 'queued', 'running', 'failed'))
ORDER BY t.id LIMIT 1000
FOR UPDATE OF t SKIP LOCKED

-- :name open_invalidations
-- The scopes of invalidations of datasets that are not planned, or that planning has set aside. Those
-- set aside for earlier dataset versions concern nothing any more.
SELECT dataset_uuid, partition_key, reason, planning_error, after_partition
FROM knockon.data_invalidations
WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL AND planning_error IS NULL
  AND dataset_uuid = ANY(%(datasets)s)
UNION
SELECT dataset_uuid, partition_key, reason, planning_error, after_partition
FROM knockon.data_invalidations
WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL AND planning_error IS NOT NULL
  AND dataset_uuid = ANY(%(datasets)s) AND dataset_version = ANY(%(versions)s)

-- :name pending_steps
-- The partitions of a job that plans pending approval would recompute; null is all. Steps for an
-- earlier dataset version concern nothing any more, and neither do plans with invalidations of
-- earlier dataset versions only.
SELECT p.id AS plan_id, p.created_at, coalesce(step -> 'partitions', '[]') AS partitions
FROM knockon.plans p, jsonb_array_elements(p.document -> 'steps') AS step
JOIN knockon.jobs j ON j.id = (step ->> 'job')::uuid
JOIN knockon.dag_version_datasets v
    ON v.dag_version_id = j.dag_version_id AND v.dataset_version = %(version)s
WHERE p.org_id = %(org_id)s AND p.state = 'pending_approval'
  AND j.name = %(job)s AND j.dag_name = %(dag)s
  AND EXISTS (SELECT FROM knockon.data_invalidations i
              JOIN knockon.current_datasets c
                  ON c.dataset_uuid = i.dataset_uuid AND c.dataset_version = i.dataset_version
              WHERE i.id = ANY(p.invalidation_ids))

-- :name record_decisions
-- Record a decision to leave partitions stale for now: the ``stale`` ones, and those whose first
-- run is in progress, because that run may have been claimed before the change.
INSERT INTO knockon.stale_decisions AS d (org_id, dataset_uuid, dataset_version, partition_key, decision,
    decided_by, decided_at, plan_id, task_id, running_task)
SELECT (SELECT s.org_id FROM knockon.datasets s WHERE s.id = %(dataset)s), %(dataset)s, %(version)s, v.key, %(decision)s, %(by)s, clock_timestamp(), %(plan)s, %(task)s, r.id
FROM unnest(%(keys)s::text[], %(stale)s::bool[]) AS v(key, is_stale)
LEFT JOIN LATERAL (
    SELECT t.id FROM knockon.tasks t
    WHERE t.job_id = %(job)s AND t.status = 'running'
      AND (t.block_key = '*' OR v.key = ANY (t.partitions)) LIMIT 1) AS r ON true
WHERE v.is_stale OR (
    r.id IS NOT NULL
    AND NOT EXISTS (SELECT FROM knockon.partition_versions p WHERE p.dataset_uuid = %(dataset)s
                    AND p.dataset_version = %(version)s AND p.partition_key = v.key)
    AND NOT EXISTS (SELECT FROM knockon.single_runs u WHERE u.dataset_uuid = %(dataset)s
                    AND u.dataset_version = %(version)s))
ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
SET decision = EXCLUDED.decision, decided_by = EXCLUDED.decided_by,
    decided_at = EXCLUDED.decided_at, plan_id = EXCLUDED.plan_id, task_id = EXCLUDED.task_id,
    running_task = EXCLUDED.running_task

-- :name decisions
-- The decisions that leave partitions of a dataset version stale.
SELECT partition_key, decision, decided_by, decided_at, plan_id, task_id FROM knockon.stale_decisions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s
  AND (%(keys)s::text[] IS NULL OR partition_key = ANY(%(keys)s))

-- :name canceled_tasks
-- Canceled tasks after an id with partitions that are still left stale, of one job or (null) of all
-- jobs.
SELECT t.id, t.dag_name, t.job_name AS job, t.status, t.partitions
FROM (SELECT DISTINCT d.task_id
      FROM knockon.current_datasets c
      JOIN knockon.datasets s ON s.id = c.dataset_uuid
      JOIN knockon.stale_decisions d
          ON d.dataset_uuid = c.dataset_uuid AND d.dataset_version = c.dataset_version
      WHERE c.org_id = %(org_id)s AND d.decision = 'canceled' AND d.task_id > %(after)s
        AND (%(job)s::text IS NULL OR s.producer_job_name = %(job)s)
        AND (%(dag)s::text IS NULL OR s.producer_dag_name = %(dag)s)
        AND (%(hidden)s::uuid[] IS NULL OR d.dataset_uuid <> ALL(%(hidden)s::uuid[]))
      ORDER BY d.task_id LIMIT %(limit)s) AS left_stale
JOIN knockon.all_tasks t ON t.id = left_stale.task_id
ORDER BY t.id

-- :name decided
-- The partitions of dataset versions that decisions leave stale.
SELECT d.dataset_uuid, d.partition_key
FROM knockon.stale_decisions d
JOIN unnest(%(datasets)b::uuid[], %(versions)b::uuid[]) AS g(dataset, version)
    ON d.dataset_uuid = g.dataset AND d.dataset_version = g.version

-- :name delete_decisions
-- Delete the decisions on partitions recomputed by a later plan, unless the decision concerns old
-- or new rows that the plan does not read.
DELETE FROM knockon.stale_decisions d
USING unnest(%(datasets)b::uuid[], %(versions)b::uuid[], %(keys)b::text[], %(read_all_rows)b::bool[],
             %(read_new_rows)b::bool[])
    AS g(dataset, version, key, reads_all_rows, reads_new_rows)
WHERE d.dataset_uuid = g.dataset AND d.dataset_version = g.version AND d.partition_key = g.key
  AND NOT EXISTS (
      SELECT FROM knockon.single_runs u
      WHERE u.dataset_uuid = g.dataset AND u.dataset_version = g.version
          AND (u.has_unread_rows AND NOT g.reads_all_rows
               OR u.has_unread_new_rows AND NOT g.reads_new_rows))
