-- :name datasets
-- The datasets of an org in their current versions.
SELECT d.id, c.dataset_version AS version, d.name, v.partitioning::text AS partitioning,
       v.columns, d.storage::text, v.storage_location
FROM knockon.current_datasets c
JOIN knockon.datasets d ON d.id = c.dataset_uuid
JOIN knockon.dataset_versions v ON v.id = c.dataset_version
WHERE c.org_id = %(org_id)s

-- :name accepting_datasets
-- The datasets that accept column lineage reported by runs. Each run is given by the first and the
-- last possible id of its task. A dataset accepts a report if the task's job produces it, its
-- version is the one written by the task, and its current job of the same name accepts reported
-- lineage.
SELECT r.index, c.dataset_uuid AS dataset, c.dataset_version AS version
FROM unnest(%(indexes)s::int[], %(firsts)s::uuid[], %(lasts)s::uuid[]) AS r(index, first, last)
JOIN knockon.all_tasks t ON t.id BETWEEN r.first AND r.last AND t.org_id = %(org_id)s
JOIN knockon.jobs o ON o.id = t.job_id
JOIN knockon.dag_version_datasets p ON p.dag_version_id = o.dag_version_id
JOIN knockon.current_datasets c ON c.dataset_uuid = p.dataset_uuid AND c.dataset_version = p.dataset_version
JOIN knockon.jobs n ON n.dag_version_id = c.dag_version_id AND n.name = o.name
WHERE c.name = ANY (n.accepts_reported_lineage) AND c.name = ANY (o.output_datasets)

-- :name jobs
-- The jobs of all current DAG versions, each with its column lineage as one text.
SELECT j.id, j.name, j.dag_name, j.activation, j.execution_strategy, j.inputs::text,
       j.output_datasets, j.runtime, j.operator, j.update_strategy, j.unique_key, j.config::text,
       j.config_hash, j.scaling::text, j.timeout_seconds, j.heartbeat_timeout_seconds,
       j.max_attempts, j.column_lineage, j.code::text, j.appears::text
FROM knockon.dag_current_versions c
JOIN knockon.jobs j ON j.dag_version_id = c.dag_version_id
WHERE c.org_id = %(org_id)s
