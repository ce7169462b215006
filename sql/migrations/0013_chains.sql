-- Jobs that read their own earlier partitions: later partitions wait for earlier ones.
-- knockon: locks knockon.data_invalidations ACCESS EXCLUSIVE
-- knockon: locks knockon.data_invalidations_history ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- The key of an earlier partition of the dataset, planned first: the invalidation is not planned while
-- a task of that partition is unfinished. The history has the same columns.
ALTER TABLE data_invalidations ADD after_partition text;
ALTER TABLE data_invalidations_history ADD after_partition text;

ALTER TABLE data_invalidations DROP CONSTRAINT data_invalidations_reason_check;
ALTER TABLE data_invalidations ADD CONSTRAINT data_invalidations_reason_check
    CHECK (reason IN ('change', 'arrival', 'correction', 'rewritten', 'manual', 'schema_change',
        'definition_change', 'schedule', 'found', 'appeared', 'continued',
        'requested'));

-- Open invalidations that wait for an unfinished task of an earlier partition. The task may be of the
-- job in an earlier version of the DAG; the joins go by unique indexes.
CREATE VIEW waiting_invalidations AS
SELECT i.org_id, i.id, t.id AS task_id
FROM data_invalidations i
JOIN datasets d ON d.id = i.dataset_uuid
JOIN dag_versions v ON v.org_id = d.org_id AND v.dag_name = d.producer_dag_name
JOIN jobs j ON j.dag_version_id = v.id AND j.name = d.producer_job_name
JOIN tasks t ON t.job_id = j.id AND t.block_key = i.after_partition
    AND t.status IN ('blocked', 'queued', 'running', 'failed')
WHERE i.after_partition IS NOT NULL AND i.processed_at IS NULL;
