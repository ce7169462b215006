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
-- Partitions changed now by other hands than a task's, in some columns; null: in all. Of a source
-- that makes them exist; what a job makes does so only when its task is done. Stamps only rise,
-- whatever the clock does.
INSERT INTO partition_versions AS p (dataset_uuid, dataset_version, partition_key, materialized_at)
SELECT %(dataset)s, %(version)s, key, clock_timestamp() FROM unnest(%(keys)s::text[]) AS key
WHERE %(is_source)s OR EXISTS (
    SELECT FROM partition_versions e WHERE e.dataset_uuid = %(dataset)s
      AND e.dataset_version = %(version)s AND e.partition_key = key)
ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
SET (materialized_at, rewritten, column_stamps, said_stamps) = (
    SELECT moment, NOT %(is_source)s,
        moved_stamps(p.materialized_at, p.column_stamps, %(columns)s::text[], moment),
        CASE WHEN p.said_stamps IS NOT NULL THEN
            moved_stamps(p.materialized_at, p.said_stamps, %(columns)s::text[], moment) END
    FROM greatest(clock_timestamp(), p.materialized_at + interval '1 microsecond') AS moment)

-- :name stamps
-- The stamps that partitions bear now; none for those that do not exist.
SELECT p.dataset_uuid, p.partition_key, p.materialized_at
FROM unnest(%(datasets)b::uuid[], %(versions)b::uuid[], %(keys)b::text[])
    AS r(dataset, version, key)
JOIN partition_versions p
    ON p.dataset_uuid = r.dataset AND p.dataset_version = r.version AND p.partition_key = r.key

-- :name write
-- The partitions that runs have written. One whose content stayed the same keeps its stamp, and so
-- does each of its columns, where it is known which ones moved. Returns what changed, in columns in
-- which it was said that it may have; null: in all of them.
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS g(task_id uuid, dataset_uuid uuid,
        dataset_version uuid, partition_key text, config_hash text, schema_hash text,
        location text, row_count bigint, bytes bigint, fingerprint text,
        column_fingerprints jsonb, changed boolean, changed_columns text[],
        said_columns text[])
), compared AS (
    SELECT g.*, p.materialized_at AS before, p.column_stamps, p.said_stamps,
        p.materialized_at IS NULL OR coalesce(g.changed, p.fingerprint <> g.fingerprint,
            p.column_fingerprints <> g.column_fingerprints, true) AS differs,
        CASE WHEN p.materialized_at IS NOT NULL AND (p.row_count <> g.row_count) IS NOT TRUE
             THEN coalesce(g.changed_columns,
                           differing_keys(p.column_fingerprints, g.column_fingerprints))
        END AS moved,
        greatest(clock_timestamp(), p.materialized_at + interval '1 microsecond') AS moment
    FROM given g LEFT JOIN partition_versions p USING (dataset_uuid, dataset_version, partition_key)
), stamped AS (
    SELECT c.*, CASE WHEN differs THEN moment ELSE before END AS materialized_at,
        CASE WHEN differs THEN moved_stamps(before, column_stamps, moved, moment)
             ELSE column_stamps END AS now_stamps
    FROM compared c
), written AS (
    INSERT INTO partition_versions AS p (dataset_uuid, dataset_version, partition_key,
        materialized_at, config_hash, schema_hash, location, row_count, bytes, fingerprint,
        column_fingerprints, column_stamps, said_stamps, task_id)
    SELECT dataset_uuid, dataset_version, partition_key, materialized_at,
        config_hash, schema_hash, location, row_count, bytes, fingerprint, column_fingerprints,
        now_stamps,
        CASE WHEN before IS NOT NULL AND said_columns IS NOT NULL THEN
            coalesce(said_stamps, jsonb_build_object('*', before))
            || (SELECT coalesce(jsonb_object_agg(c, stamp_of(materialized_at, now_stamps, ARRAY[c])),
                                '{}')
                FROM unnest(said_columns) AS c) END,
        task_id
    FROM stamped
    ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
    SET materialized_at = EXCLUDED.materialized_at, config_hash = EXCLUDED.config_hash,
        schema_hash = EXCLUDED.schema_hash, location = EXCLUDED.location,
        row_count = EXCLUDED.row_count, bytes = EXCLUDED.bytes,
        fingerprint = EXCLUDED.fingerprint, column_fingerprints = EXCLUDED.column_fingerprints,
        column_stamps = EXCLUDED.column_stamps, said_stamps = EXCLUDED.said_stamps,
        rewritten = false, task_id = EXCLUDED.task_id
)
SELECT task_id, dataset_uuid, partition_key,
    CASE WHEN said_columns IS NULL THEN moved WHEN moved IS NULL THEN said_columns
         ELSE ARRAY(SELECT unnest(moved) INTERSECT SELECT unnest(said_columns)) END AS columns
FROM compared WHERE differs

-- :name of_dataset
-- What stands of a dataset, all of it or some keys.
SELECT partition_key, materialized_at, config_hash, row_count, bytes, fingerprint, task_id
FROM partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s
  AND (%(keys)s::text[] IS NULL OR partition_key = ANY(%(keys)s))

-- :name newer_inputs
-- What the runs behind these partitions read, and whether what they read of it has a newer stamp
-- by now; a dataset that is not listed is read whole.
SELECT %(job)s::uuid AS job_id, p.partition_key, i.input_dataset_uuid, i.input_partition_key,
       i.input_version,
       stamp_of(n.materialized_at, coalesce(n.said_stamps, n.column_stamps), r.columns)
           AS now_version
FROM partition_versions p
JOIN task_inputs i ON i.task_id = p.task_id
LEFT JOIN jsonb_to_recordset(%(reads)s) AS r(dataset uuid, columns text[])
    ON r.dataset = i.input_dataset_uuid
JOIN current_datasets c ON c.dataset_uuid = i.input_dataset_uuid
JOIN partition_versions n ON n.dataset_uuid = i.input_dataset_uuid
    AND n.dataset_version = c.dataset_version AND n.partition_key = i.input_partition_key
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s
  AND (%(keys)s::text[] IS NULL OR p.partition_key = ANY(%(keys)s))
  AND stamp_of(n.materialized_at, coalesce(n.said_stamps, n.column_stamps), r.columns)
      > coalesce(i.input_version, '-infinity')

-- :name moved_in
-- Partitions of which some of these columns have moved, or were said to have, without the others.
SELECT partition_key FROM partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s
  AND (column_stamps ?| %(columns)s::text[] OR said_stamps ?| %(columns)s::text[])

-- :name standing
-- Of partitions that tasks are about to write, the runs on which they stand until then, and what
-- the plans reckon with; none of what is new or made anew, nor of what other hands have changed.
SELECT r.task_id, r.dataset AS dataset_uuid, r.key AS partition_key, p.task_id AS since,
    t.columns ? r.dataset::text AS is_hit, t.columns -> r.dataset::text AS columns
FROM unnest(%(tasks)b::uuid[], %(datasets)b::uuid[], %(versions)b::uuid[], %(keys)b::text[])
    AS r(task_id, dataset, version, key)
JOIN partition_versions p
    ON p.dataset_uuid = r.dataset AND p.dataset_version = r.version AND p.partition_key = r.key
JOIN tasks t ON t.id = r.task_id AND NOT t.anew
WHERE p.task_id IS NOT NULL AND NOT p.rewritten

-- :name moved_since
-- What a task reads that has moved since another one read it, or was said to have since, and the
-- columns in which that was said, which may be none; null columns: all of them. What was skipped in
-- front has said nothing for itself, so of what it would have made all that has moved counts.
WITH skipped AS MATERIALIZED (
    SELECT DISTINCT d.task_id, dataset, CASE WHEN f.slot = '*' THEN NULL ELSE key END AS key
    FROM (SELECT DISTINCT unnest(%(tasks)b::uuid[]) AS task_id) AS t
    JOIN task_dependencies d USING (task_id)
    JOIN tasks f ON f.id = d.depends_on AND f.status IN ('skipped', 'canceled'),
        unnest(d.datasets) AS dataset, unnest(f.partitions || ''::text) AS key
), compared AS (
    SELECT r.*, i.input_version AS read, i.said_stamps AS said_then,
        -- Of what was made, columns that moved do not tell whether rows came or went as well.
        CASE WHEN n.task_id IS NULL THEN n.column_stamps
             WHEN k.task_id IS NULL AND w.task_id IS NULL THEN n.said_stamps END AS stamps
    FROM unnest(%(tasks)b::uuid[], %(since)b::uuid[], %(datasets)b::uuid[], %(versions)b::uuid[],
                %(keys)b::text[]) AS r(task_id, since, dataset, version, key)
    JOIN partition_versions n
        ON n.dataset_uuid = r.dataset AND n.dataset_version = r.version AND n.partition_key = r.key
    LEFT JOIN task_inputs i ON i.task_id = r.since AND i.input_dataset_uuid = r.dataset
        AND i.input_partition_key = r.key
    LEFT JOIN skipped k ON k.task_id = r.task_id AND k.dataset = r.dataset AND k.key = r.key
    LEFT JOIN skipped w ON w.task_id = r.task_id AND w.dataset = r.dataset AND w.key IS NULL
    WHERE n.materialized_at > coalesce(i.input_version, '-infinity') OR i.said_stamps IS NOT NULL
)
SELECT task_id, since, dataset AS dataset_uuid, key AS partition_key,
    CASE WHEN read IS NOT NULL AND (stamps ->> '*')::timestamptz
            <= least(read, (said_then ->> '*')::timestamptz)
         THEN ARRAY(SELECT c.key FROM jsonb_each_text(stamps) AS c
                    WHERE c.value::timestamptz > least(read,
                        coalesce(said_then ->> c.key, said_then ->> '*')::timestamptz))
    END AS columns
FROM compared

-- :name remember_said
-- What has been said by now of what tasks have read, where that is not all.
UPDATE task_inputs i SET said_stamps = n.said_stamps
FROM unnest(%(tasks)b::uuid[], %(datasets)b::uuid[], %(versions)b::uuid[], %(keys)b::text[])
    AS r(task_id, dataset, version, key)
JOIN partition_versions n
    ON n.dataset_uuid = r.dataset AND n.dataset_version = r.version AND n.partition_key = r.key
WHERE i.task_id = r.task_id AND i.input_dataset_uuid = r.dataset AND i.input_partition_key = r.key
  AND n.said_stamps IS NOT NULL

-- :name inherit
-- A generation of a source whose definition only moved keeps what was known of the one before.
INSERT INTO partition_versions (dataset_uuid, dataset_version, partition_key, materialized_at,
                                column_stamps)
SELECT dataset_uuid, %(version)s, partition_key, materialized_at, column_stamps
FROM partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(previous)s
ON CONFLICT DO NOTHING
