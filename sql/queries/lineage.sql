-- :name datasets
-- Every dataset of an org in the generation that is served.
SELECT d.id, c.dataset_version AS version, d.name, v.partitioning::text AS partitioning,
       v.columns, d.storage, v.storage_location
FROM current_datasets c
JOIN datasets d ON d.id = c.dataset_uuid
JOIN dataset_versions v ON v.id = c.dataset_version
WHERE c.org_id = %(org_id)s

-- :name jobs
-- Every job of the DAG versions that are served.
SELECT j.id, j.name, j.dag_name, j.activation, j.execution_strategy, j.inputs, j.output_datasets,
       j.runtime, j.operator, j.update_strategy, j.unique_key, j.config, j.config_hash, j.scaling,
       j.timeout_seconds, j.heartbeat_timeout_seconds, j.max_attempts
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id
WHERE c.org_id = %(org_id)s

-- :name columns
-- The column lineage of the DAG versions that are served.
SELECT l.output_dataset_uuid::text, l.output_column, l.input_dataset_uuid::text, l.input_column
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id
JOIN column_lineage l ON l.job_id = j.id
WHERE c.org_id = %(org_id)s
