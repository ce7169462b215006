-- The bounded list of a partition's row changes.

-- :name contents
-- Lock the content versions and row changes of partitions.
SELECT p.partition_key AS key, jsonb_build_object('changed_at', p.materialized_at,
    'column_versions', p.column_versions, 'row_changes', coalesce(p.row_changes, '[]')) AS content
FROM knockon.partition_versions p
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s
  AND p.partition_key = ANY(%(keys)s)
ORDER BY p.partition_key FOR UPDATE

-- :name runs
-- The runs behind partitions of an output that recorded an older version of an input partition, but
-- none older than its last change of all rows in the columns read.
SELECT o.partition_key AS key, i.task_id, i.input_version AS recorded
FROM knockon.partition_versions p
JOIN knockon.partition_versions o ON o.dataset_uuid = %(output)s AND o.dataset_version = %(output_version)s
JOIN knockon.task_inputs i ON i.task_id = o.task_id AND i.input_dataset_uuid = p.dataset_uuid
    AND i.input_partition_key = p.partition_key
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s AND p.partition_key = %(key)s
  AND i.input_version < %(before)s
  AND i.input_version >= knockon.content_version_of(p.materialized_at, p.column_versions, %(columns)s::text[])

-- :name single_run
-- The same for an output of a single-run job.
SELECT '*' AS key, i.task_id, i.input_version AS recorded
FROM knockon.partition_versions p
JOIN knockon.single_runs r ON r.dataset_uuid = %(output)s AND r.dataset_version = %(output_version)s
JOIN knockon.task_inputs i ON i.task_id = r.task_id AND i.input_dataset_uuid = p.dataset_uuid
    AND i.input_partition_key = p.partition_key
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s AND p.partition_key = %(key)s
  AND i.input_version < %(before)s
  AND i.input_version >= knockon.content_version_of(p.materialized_at, p.column_versions, %(columns)s::text[])

-- :name raise_recorded
-- Raise the input versions recorded by runs that no later change has reached.
UPDATE knockon.task_inputs SET input_version = %(at)s,
    version_before_raise = coalesce(version_before_raise, input_version)
WHERE task_id = ANY(%(tasks)s) AND input_dataset_uuid = %(dataset)s AND input_partition_key = %(key)s

-- :name raised_runs
-- The partitions of an output whose runs have raised versions of these inputs.
SELECT o.partition_key AS key FROM knockon.partition_versions o
WHERE o.dataset_uuid = %(output)s AND o.dataset_version = %(output_version)s
  AND EXISTS (SELECT FROM knockon.task_inputs i WHERE i.task_id = o.task_id
              AND i.input_dataset_uuid = ANY(%(inputs)s) AND i.version_before_raise IS NOT NULL)

-- :name raised_single_run
-- The same for an output of a single-run job.
SELECT '*' AS key FROM knockon.single_runs r
WHERE r.dataset_uuid = %(output)s AND r.dataset_version = %(output_version)s
  AND EXISTS (SELECT FROM knockon.task_inputs i WHERE i.task_id = r.task_id
              AND i.input_dataset_uuid = ANY(%(inputs)s) AND i.version_before_raise IS NOT NULL)

-- :name replace
-- Replace the oldest row changes by column versions.
UPDATE knockon.partition_versions SET column_versions = %(column_versions)s, row_changes = %(row_changes)s
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s AND partition_key = %(key)s
