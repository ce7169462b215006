-- :name feeds
-- The source of each source job, with the partitioning and columns of its datasets.
SELECT j.source, j.output_datasets AS datasets,
       (SELECT jsonb_object_agg(d.name, jsonb_build_object(
                   'partitioning', v.partitioning::text, 'columns', v.columns))
        FROM knockon.dag_version_datasets p
        JOIN knockon.datasets d ON d.id = p.dataset_uuid
        JOIN knockon.dataset_versions v ON v.id = p.dataset_version
        WHERE p.dag_version_id = j.dag_version_id AND d.name = ANY (j.output_datasets)) AS known
FROM knockon.dag_current_versions c JOIN knockon.jobs j ON j.dag_version_id = c.dag_version_id
WHERE c.org_id = %(org_id)s AND j.activation = 'source' ORDER BY j.dag_name, j.name
