-- :name dag_versions
-- The versions of DAGs that were last current some days ago, the oldest first. Kept are the newest
-- version of a deployed DAG, whose number is not used again, and versions in undecided plans.
SELECT v.id, v.dag_name AS dag, v.number
FROM knockon.dag_versions v
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT min(later.deployed_at) FROM knockon.dag_deploys later
         WHERE later.org_id = v.org_id AND later.dag_name = v.dag_name AND later.number > max(d.number)),
        max(d.deployed_at), v.created_at) AS at
    FROM knockon.dag_deploys d WHERE d.dag_version_id = v.id) AS ended
LEFT JOIN knockon.dag_current_versions c ON c.org_id = v.org_id AND c.dag_name = v.dag_name
WHERE v.org_id = %(org_id)s
  AND ended.at <= clock_timestamp() - %(days)s * interval '1 day'
  AND c.dag_version_id IS DISTINCT FROM v.id
  AND (c.dag_version_id IS NULL OR EXISTS (
      SELECT FROM knockon.dag_versions newer
      WHERE newer.org_id = v.org_id AND newer.dag_name = v.dag_name AND newer.number > v.number))
  AND NOT EXISTS (
      SELECT FROM knockon.jobs j JOIN knockon.tasks t ON t.job_id = j.id
      WHERE j.dag_version_id = v.id AND t.status IN ('blocked', 'queued', 'running', 'failed'))
  AND NOT EXISTS (
      SELECT FROM knockon.plans p
      CROSS JOIN LATERAL jsonb_array_elements(p.document -> 'steps') AS s(step)
      JOIN knockon.jobs j ON j.id = (s.step ->> 'job')::uuid
      WHERE p.org_id = %(org_id)s AND p.state <> 'applied'
        AND p.state IN ('proposed', 'pending_approval') AND j.dag_version_id = v.id)
ORDER BY ended.at, v.number LIMIT %(limit)s

-- :name finished_tasks
-- Lock finished tasks of a DAG version that have not moved to the history yet.
SELECT t.id FROM knockon.jobs j JOIN knockon.tasks t ON t.job_id = j.id
WHERE j.dag_version_id = %(dag_version_id)s AND t.status IN ('succeeded', 'skipped', 'canceled')
ORDER BY t.id LIMIT %(limit)s
FOR UPDATE OF t

-- :name delete_dag_version
-- Delete a DAG version without tasks, with its jobs, pins and deploys.
DELETE FROM knockon.dag_versions v
WHERE v.id = %(dag_version_id)s
  AND NOT EXISTS (SELECT FROM knockon.jobs j JOIN knockon.tasks t ON t.job_id = j.id
                  WHERE j.dag_version_id = v.id)

-- :name dataset_versions
-- Dataset versions created some days ago that belong to no DAG version, apart from some DAG versions
-- to be removed.
SELECT v.dataset_uuid AS dataset, v.id AS version
FROM knockon.datasets d JOIN knockon.dataset_versions v ON v.dataset_uuid = d.id
WHERE d.org_id = %(org_id)s
  AND v.created_at <= clock_timestamp() - %(days)s * interval '1 day'
  AND NOT EXISTS (SELECT FROM knockon.dag_version_datasets p
                  WHERE p.dataset_version = v.id AND p.dag_version_id <> ALL (%(removed)s::uuid[]))
ORDER BY v.created_at LIMIT %(limit)s

-- :name partitions
-- Partitions of a dataset version, with the tasks that have built them.
SELECT p.partition_key AS key, p.task_id FROM knockon.partition_versions p
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s
ORDER BY p.partition_key LIMIT %(limit)s

-- :name single_runs
-- The last run behind a dataset version of a single-run job.
SELECT task_id AS id FROM knockon.single_runs
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s

-- :name delete_inputs
-- Delete some of the input versions recorded by tasks. All outputs of a job get new versions
-- together, so these tasks explain nothing else.
DELETE FROM knockon.task_inputs i
WHERE i.ctid = ANY (ARRAY(
    SELECT t.ctid FROM knockon.task_inputs t WHERE t.task_id = ANY (%(tasks)s) LIMIT %(limit)s))

-- :name delete_partitions
-- Delete partitions of a dataset version.
DELETE FROM knockon.partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s AND partition_key = ANY (%(keys)s)

-- :name delete_decisions
-- Delete some of the decisions to leave partitions of a dataset version stale.
DELETE FROM knockon.stale_decisions d
WHERE d.dataset_uuid = %(dataset)s AND d.dataset_version = %(version)s
  AND d.partition_key = ANY (ARRAY(
      SELECT s.partition_key FROM knockon.stale_decisions s
      WHERE s.dataset_uuid = %(dataset)s AND s.dataset_version = %(version)s LIMIT %(limit)s))

-- :name delete_dataset_version
-- Delete a dataset version that belongs to no DAG version, with its invalidations and cursors.
DELETE FROM knockon.dataset_versions v
WHERE v.id = %(version)s
  AND NOT EXISTS (SELECT FROM knockon.dag_version_datasets p WHERE p.dataset_version = v.id)

-- :name sizes
-- The numbers of partitions of dataset versions and of the inputs recorded for them, and their size,
-- estimated from the average row.
WITH counted AS (
    SELECT count(*) AS partitions, coalesce(sum(inputs.number), 0)::bigint AS inputs
    FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g(dataset, version)
    JOIN knockon.partition_versions p
        ON p.dataset_uuid = g.dataset AND p.dataset_version = g.version
    CROSS JOIN LATERAL (SELECT count(*) AS number FROM knockon.task_inputs i
                        WHERE i.task_id = p.task_id) AS inputs
)
SELECT partitions, inputs,
    (partitions * (SELECT pg_total_relation_size(c.oid) / greatest(c.reltuples, 1) FROM pg_class c
                   WHERE c.oid = 'knockon.partition_versions'::regclass)
     + inputs * (SELECT pg_total_relation_size(c.oid) / greatest(c.reltuples, 1) FROM pg_class c
                 WHERE c.oid = 'knockon.task_inputs'::regclass))::bigint AS bytes
FROM counted
