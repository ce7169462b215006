-- :name known
-- Keys that exist, or that open tasks of the producer are about to make.
SELECT p.partition_key AS key FROM partition_versions p
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s
UNION
SELECT unnest(t.partitions) FROM tasks t
WHERE t.job_id = %(producer)s AND t.status IN ('blocked', 'queued', 'running', 'failed')

-- :name existing
-- Keys that exist now.
SELECT partition_key AS key FROM partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s

-- :name stamp
-- A source's partitions changed now. Stamps only rise, whatever the clock does.
INSERT INTO partition_versions (dataset_uuid, dataset_version, partition_key, materialized_at)
SELECT %(dataset)s, %(version)s, key, clock_timestamp() FROM unnest(%(keys)s::text[]) AS key
ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
SET materialized_at = greatest(clock_timestamp(),
                               partition_versions.materialized_at + interval '1 microsecond')

-- :name stamps
-- The stamps that partitions bear now; none for those that do not exist.
SELECT p.dataset_uuid, p.partition_key, p.materialized_at
FROM unnest(%(datasets)b::uuid[], %(versions)b::uuid[], %(keys)b::text[])
    AS r(dataset, version, key)
JOIN partition_versions p
    ON p.dataset_uuid = r.dataset AND p.dataset_version = r.version AND p.partition_key = r.key

-- :name write
-- The partitions that runs have written. One whose fingerprint stayed the same keeps its stamp.
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS g(task_id uuid, dataset_uuid uuid,
        dataset_version uuid, partition_key text, config_hash text, schema_hash text,
        location text, row_count bigint, bytes bigint, fingerprint text,
        column_fingerprints jsonb, changed boolean)
), compared AS (
    SELECT g.task_id, g.dataset_uuid, g.dataset_version, g.partition_key, g.config_hash,
        g.schema_hash, g.location, g.row_count, g.bytes, g.fingerprint, g.column_fingerprints,
        p.materialized_at AS stamp,
        p.materialized_at IS NULL
            OR coalesce(g.changed, coalesce(p.fingerprint <> g.fingerprint, true)) AS changed
    FROM given g LEFT JOIN partition_versions p USING (dataset_uuid, dataset_version, partition_key)
), written AS (
    INSERT INTO partition_versions AS p (dataset_uuid, dataset_version, partition_key,
        materialized_at, config_hash, schema_hash, location, row_count, bytes, fingerprint,
        column_fingerprints, task_id)
    SELECT dataset_uuid, dataset_version, partition_key,
        CASE WHEN changed
             THEN greatest(clock_timestamp(), stamp + interval '1 microsecond') ELSE stamp END,
        config_hash, schema_hash, location, row_count, bytes, fingerprint, column_fingerprints,
        task_id
    FROM compared
    ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
    SET materialized_at = EXCLUDED.materialized_at, config_hash = EXCLUDED.config_hash,
        schema_hash = EXCLUDED.schema_hash, location = EXCLUDED.location,
        row_count = EXCLUDED.row_count, bytes = EXCLUDED.bytes,
        fingerprint = EXCLUDED.fingerprint, column_fingerprints = EXCLUDED.column_fingerprints,
        task_id = EXCLUDED.task_id
)
SELECT DISTINCT task_id FROM compared WHERE changed

-- :name of_dataset
-- What stands of a dataset, all of it or some keys.
SELECT partition_key, materialized_at, config_hash, row_count, bytes, fingerprint, task_id
FROM partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s
  AND (%(keys)s::text[] IS NULL OR partition_key = ANY(%(keys)s))

-- :name newer_inputs
-- What the runs behind these partitions read, and whether it has a newer stamp by now.
SELECT p.partition_key, i.input_dataset_uuid, i.input_partition_key, i.input_version,
       n.materialized_at AS now_version
FROM partition_versions p
JOIN task_inputs i ON i.task_id = p.task_id
JOIN current_datasets c ON c.dataset_uuid = i.input_dataset_uuid
JOIN partition_versions n ON n.dataset_uuid = i.input_dataset_uuid
    AND n.dataset_version = c.dataset_version AND n.partition_key = i.input_partition_key
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s
  AND (%(keys)s::text[] IS NULL OR p.partition_key = ANY(%(keys)s))
  AND n.materialized_at > coalesce(i.input_version, '-infinity')

-- :name inherit
-- A generation of a source whose definition only moved keeps what was known of the one before.
INSERT INTO partition_versions (dataset_uuid, dataset_version, partition_key, materialized_at)
SELECT dataset_uuid, %(version)s, partition_key, materialized_at FROM partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(previous)s
ON CONFLICT DO NOTHING
