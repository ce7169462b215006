-- :name current
-- The current DAG versions of an org with their content. `yaml_hash` holds the hash of the compiled
-- content, so that the form of the file is irrelevant; the column's name is fixed.
SELECT c.dag_name, c.dag_version_id, v.yaml_hash, v.content
FROM knockon.dag_current_versions c JOIN knockon.dag_versions v ON v.id = c.dag_version_id
WHERE c.org_id = %(org_id)s ORDER BY c.dag_name

-- :name user_defined
-- The functions and operators outside of PostgreSQL's own schemas, by name. A name is unsafe if a
-- function of that name returns a set, is not immutable, or is an aggregate other than a minimum or
-- maximum.
WITH functions AS (
    SELECT p.oid, p.proname::text AS name, p.pronamespace NOT IN (
            SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema')
        ) AS is_users,
        p.proretset OR p.provolatile <> 'i' OR p.prokind NOT IN ('f', 'a')
            OR p.prokind = 'a' AND a.aggsortop = 0 AS is_unsafe
    FROM pg_proc p LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
)
SELECT
    ARRAY(SELECT DISTINCT name FROM functions WHERE is_users) AS functions,
    ARRAY(SELECT DISTINCT name FROM functions WHERE is_users AND is_unsafe) AS unsafe,
    ARRAY(
        SELECT o.oprname::text FROM pg_operator o JOIN functions f ON f.oid = o.oprcode
        WHERE o.oprnamespace <> 'pg_catalog'::regnamespace AND f.is_unsafe
        UNION
        SELECT '::' FROM pg_cast c JOIN functions f ON f.oid = c.castfunc
        WHERE f.is_users AND f.is_unsafe
    ) AS operators

-- :name insert_version
-- Insert a DAG version, or return the version with the same content, which keeps the newest text.
INSERT INTO knockon.dag_versions AS v (id, org_id, dag_name, yaml_hash, content, file)
VALUES (%(id)s, %(org_id)s, %(dag_name)s, %(yaml_hash)s, %(content)s, %(file)s)
ON CONFLICT (org_id, dag_name, yaml_hash) DO UPDATE SET file = coalesce(EXCLUDED.file, v.file)
RETURNING id

-- :name set_current
-- Make a DAG version the current one.
INSERT INTO knockon.dag_current_versions (org_id, dag_name, dag_version_id, updated_at)
VALUES (%(org_id)s, %(dag_name)s, %(dag_version_id)s, clock_timestamp())
ON CONFLICT (org_id, dag_name)
DO UPDATE SET dag_version_id = EXCLUDED.dag_version_id, updated_at = EXCLUDED.updated_at

-- :name jobs_of_version
-- The jobs of a DAG version, which never change.
SELECT id, name FROM knockon.jobs WHERE dag_version_id = %(dag_version_id)s

-- :name insert_jobs
-- Insert the jobs of a new DAG version.
INSERT INTO knockon.jobs (id, org_id, name, dag_name, dag_version_id, activation, runtime, operator, source,
    execution_strategy, idle_timeout, config, config_hash, input_datasets, output_datasets,
    update_strategy, unique_key, scaling, timeout_seconds, heartbeat_timeout_seconds,
    max_attempts, inputs, waits_for_inputs, accepts_reported_lineage, code, appears)
SELECT v.id, %(org_id)s, v.name, %(dag_name)s, %(dag_version_id)s, v.activation, v.runtime,
    v.operator, v.source, v.execution_strategy, v.idle_timeout, v.config, v.config_hash,
    v.input_datasets, v.output_datasets, v.update_strategy, v.unique_key, v.scaling,
    v.timeout_seconds, v.heartbeat_timeout_seconds, v.max_attempts, v.inputs, v.waits_for_inputs,
    v.accepts_reported_lineage,
    nullif(v.code, 'null'), v.appears
FROM jsonb_to_recordset(%(rows)s) AS v(id uuid, name text, activation text, runtime text,
    operator text, source jsonb, execution_strategy text, idle_timeout text, config jsonb,
    config_hash text, input_datasets text[], output_datasets text[], update_strategy text,
    unique_key text[], scaling jsonb, timeout_seconds int, heartbeat_timeout_seconds int,
    max_attempts int, inputs jsonb, waits_for_inputs boolean,
    accepts_reported_lineage text[], code jsonb, appears jsonb)

-- :name upsert_datasets
-- Insert or update datasets, identified by their names.
INSERT INTO knockon.datasets (id, org_id, name, producer_dag_name, producer_job_name,
    producer_output_index, storage, read_roles, debounce)
SELECT v.id, %(org_id)s, v.name, %(dag_name)s, v.producer_job_name, v.producer_output_index,
    v.storage, v.read_roles, v.debounce
FROM jsonb_to_recordset(%(rows)s) AS v(id uuid, name text, producer_job_name text,
    producer_output_index int, storage jsonb, read_roles text[], debounce jsonb)
ON CONFLICT (org_id, name) DO UPDATE
SET producer_dag_name = EXCLUDED.producer_dag_name,
    producer_job_name = EXCLUDED.producer_job_name,
    producer_output_index = EXCLUDED.producer_output_index,
    storage = EXCLUDED.storage, read_roles = EXCLUDED.read_roles, debounce = EXCLUDED.debounce,
    updated_at = clock_timestamp()

-- :name datasets_named
-- Ids of datasets by name.
SELECT id, name FROM knockon.datasets WHERE org_id = %(org_id)s AND name = ANY(%(names)s)

-- :name pins
-- The dataset versions of a DAG version.
SELECT dataset_uuid, dataset_version FROM knockon.dag_version_datasets
WHERE dag_version_id = %(dag_version_id)s

-- :name newest_dataset_versions
-- The newest version of each dataset, current or not, by the clock of the database: versions are
-- created under the planning lock, one deploy after the other. Only a deploy with a new version of
-- a source changes its storage.
SELECT DISTINCT ON (d.id) d.name, v.id, v.partitioning, d.storage
FROM knockon.datasets d JOIN knockon.dataset_versions v ON v.dataset_uuid = d.id
WHERE d.org_id = %(org_id)s AND d.name = ANY(%(names)s)
ORDER BY d.id, v.created_at DESC, v.id DESC

-- :name partitionings
-- The partitioning of dataset versions.
SELECT id, partitioning FROM knockon.dataset_versions WHERE id = ANY(%(versions)s)

-- :name set_partitioning
-- Change the bounds or the key lists of a dataset version.
UPDATE knockon.dataset_versions SET partitioning = %(partitioning)s::text::json
WHERE id = %(version)s

-- :name keep_config_hashes
-- Give jobs of a DAG version the hashes of the jobs with the same definition in another, which are
-- recorded with the partitions.
UPDATE knockon.jobs j SET config_hash = p.config_hash
FROM knockon.jobs p
WHERE p.dag_version_id = %(previous)s AND j.dag_version_id = %(version)s AND j.name = p.name
  AND j.name = ANY(%(names)s) AND j.config_hash <> p.config_hash

-- :name insert_dataset_versions
-- Insert new versions of datasets with changed definitions.
INSERT INTO knockon.dataset_versions (org_id, id, dataset_uuid, storage_location, config_hash, schema_hash,
    partitioning, columns)
SELECT %(org_id)s, v.id, v.dataset_uuid, v.storage_location, v.config_hash, v.schema_hash,
    v.partitioning::json, v.columns
FROM jsonb_to_recordset(%(rows)s) AS v(id uuid, dataset_uuid uuid, storage_location text,
    config_hash text, schema_hash text, partitioning text, columns text[])

-- :name pin
-- Pin the dataset versions of a DAG version.
INSERT INTO knockon.dag_version_datasets (org_id, dag_version_id, dataset_uuid, dataset_version)
SELECT %(org_id)s, %(dag_version_id)s, u.dataset, u.version
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS u(dataset, version)
ON CONFLICT (dag_version_id, dataset_uuid) DO UPDATE SET dataset_version = EXCLUDED.dataset_version

-- :name delete_columns
-- Delete the column lineage of datasets, reported lineage included.
DELETE FROM knockon.column_lineage WHERE output_dataset_uuid = ANY(%(datasets)s)

-- :name keep_columns
-- Assign the reported lineage of unchanged datasets to their new jobs.
UPDATE knockon.column_lineage l SET job_id = v.job
FROM unnest(%(datasets)s::uuid[], %(jobs)s::uuid[]) AS v(dataset, job)
WHERE l.output_dataset_uuid = v.dataset

-- :name insert_columns
-- Insert column lineage.
INSERT INTO knockon.column_lineage (org_id, output_dataset_uuid, output_column, input_dataset_uuid,
    input_column, job_id)
SELECT %(org_id)s, v.output, v.output_column, v.input, v.input_column, v.job
FROM jsonb_to_recordset(%(rows)s) AS v(output uuid, output_column text, input uuid,
    input_column text, job uuid)
ON CONFLICT DO NOTHING
