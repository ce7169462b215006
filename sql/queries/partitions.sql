-- :name known
-- Keys of partitions that exist, that open tasks of the producer are about to build, or that a
-- decision leaves unbuilt. Decisions are recorded with the first output of their job.
SELECT p.partition_key AS key FROM knockon.partition_versions p
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s
UNION
SELECT unnest(t.partitions) FROM knockon.tasks t
WHERE t.job_id = %(producer)s AND t.status IN ('blocked', 'queued', 'running', 'failed')
UNION
SELECT partition_key FROM knockon.stale_decisions
WHERE dataset_uuid = %(first_output)s AND dataset_version = %(first_version)s AND partition_key <> '*'

-- :name unfinished
-- Keys of partitions that unfinished tasks of a job are to build.
SELECT unnest(t.partitions) AS key FROM knockon.tasks t
WHERE t.job_id = %(producer)s AND t.status IN ('blocked', 'queued', 'running', 'failed')

-- :name known_among
-- Those of some keys that `known` returns.
SELECT p.partition_key AS key FROM knockon.partition_versions p
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s
  AND p.partition_key = ANY(%(keys)s)
UNION
SELECT key FROM knockon.tasks t, unnest(t.partitions) AS key
WHERE t.job_id = %(producer)s AND t.status IN ('blocked', 'queued', 'running', 'failed')
  AND key = ANY(%(keys)s)
UNION
SELECT partition_key FROM knockon.stale_decisions
WHERE dataset_uuid = %(first_output)s AND dataset_version = %(first_version)s
  AND partition_key = ANY(%(keys)s)

-- :name existing
-- Keys of existing partitions.
SELECT partition_key AS key FROM knockon.partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s

-- :name existing_among
-- Those of some keys with an existing partition, and the key of one existing partition.
SELECT partition_key AS key FROM knockon.partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s AND partition_key = ANY(%(keys)s)
UNION
(SELECT partition_key FROM knockon.partition_versions
 WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s LIMIT 1)

-- :name earlier
-- Keys of partitions of earlier dataset versions, by the partitioning that each version had last.
SELECT v.partitioning::text AS partitioning, array_agg(DISTINCT p.partition_key) AS keys
FROM knockon.dataset_versions v
JOIN knockon.partition_versions p ON p.dataset_uuid = v.dataset_uuid AND p.dataset_version = v.id
WHERE v.dataset_uuid = %(dataset)s AND v.id <> %(version)s
GROUP BY v.partitioning::text

-- :name recorded
-- Keys of single partitions that exist, or that a decision leaves stale.
SELECT partition_key AS key FROM knockon.partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s
UNION
SELECT partition_key FROM knockon.stale_decisions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s AND partition_key <> '*'

-- :name remove
-- Delete the records of partitions that a deploy has removed from a dataset.
WITH undecided AS (
    DELETE FROM knockon.stale_decisions
    WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s
      AND partition_key = ANY(%(keys)s)
)
DELETE FROM knockon.partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s AND partition_key = ANY(%(keys)s)

-- :name built_or_decided
-- Keys of partitions of dataset versions that exist, or that a decision leaves stale.
SELECT p.dataset_version AS version, p.partition_key AS key
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g(dataset, version)
JOIN knockon.partition_versions p
    ON p.dataset_uuid = g.dataset AND p.dataset_version = g.version
UNION
SELECT d.dataset_version, d.partition_key
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g(dataset, version)
JOIN knockon.stale_decisions d
    ON d.dataset_uuid = g.dataset AND d.dataset_version = g.version

-- :name mark_changed
-- Assign new content versions to partitions changed outside of tasks, in some columns and rows
-- (null: in all). New partitions are inserted for sources only, because those of jobs exist only
-- once they are built. Fingerprints of changed content are deleted, since the next run has nothing
-- to be compared with. Those of earlier comparisons are kept unless everything has changed: they show
-- that a run may have incorporated a further change. Versions only rise, regardless of the clock.
-- Returns the partitions with more row changes than ``most``.
WITH changed AS (
INSERT INTO knockon.partition_versions AS p (org_id, dataset_uuid, dataset_version, partition_key,
                                      materialized_at)
SELECT %(org_id)s, %(dataset)s, %(version)s, key, clock_timestamp() FROM unnest((SELECT %(keys)s::text[])) AS key
WHERE (SELECT %(is_source)s::boolean) OR EXISTS (
    SELECT FROM knockon.partition_versions e WHERE e.dataset_uuid = %(dataset)s
      AND e.dataset_version = %(version)s AND e.partition_key = key)
ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
SET (materialized_at, column_versions, row_changes, fingerprint, column_fingerprints,
     attributed_fingerprints, row_count) = (
    SELECT moment,
        CASE WHEN %(rows)s::jsonb IS NULL
             THEN knockon.moved_column_versions(p.materialized_at, p.column_versions, %(columns)s::text[], moment)
             ELSE coalesce(p.column_versions, jsonb_build_object('*', p.materialized_at)) END,
        CASE WHEN %(rows)s::jsonb IS NOT NULL
             THEN coalesce(p.row_changes, '[]') || jsonb_build_object('at', moment, 'scope',
                 jsonb_build_object('columns', %(columns)s::text[], 'rows', %(rows)s::jsonb))
             WHEN %(columns)s::text[] IS NOT NULL THEN p.row_changes END,
        NULL,
        CASE WHEN p.attributed_fingerprints IS NULL
             THEN p.column_fingerprints - %(columns)s::text[] END,
        CASE WHEN %(columns)s::text[] IS NOT NULL OR %(rows)s::jsonb IS NOT NULL
             THEN p.attributed_fingerprints END,
        NULL::bigint
    FROM greatest(clock_timestamp(), p.materialized_at + interval '1 microsecond') AS moment)
RETURNING p.partition_key, p.row_changes
)
SELECT partition_key AS key FROM changed WHERE jsonb_array_length(row_changes) > %(most)s

-- :name discard_fingerprints
-- Discard fingerprints, so that the next run of these partitions counts as a change, and mark the
-- partitions as partly written if an attempt may have written them. Otherwise the fingerprint is kept
-- as unverified, because a run with the same result has changed nothing, and so are those of single
-- columns, which identify the changed ones. Fingerprints of earlier comparisons are kept, because they
-- show that a run may have incorporated a change that no plan has propagated. A null key selects all
-- partitions, which are built together.
UPDATE knockon.partition_versions p
SET unverified_fingerprint = CASE WHEN NOT %(partly_written)s THEN coalesce(p.fingerprint,
        CASE WHEN p.unverified_at = p.materialized_at THEN p.unverified_fingerprint END) END,
    unverified_at = p.materialized_at,
    fingerprint = NULL,
    column_fingerprints = CASE WHEN NOT %(partly_written)s THEN p.column_fingerprints END,
    is_partly_written = p.is_partly_written OR (%(partly_written)s AND v.key IS NOT NULL)
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[], %(keys)s::text[]) AS v(dataset, version, key)
WHERE p.dataset_uuid = v.dataset AND p.dataset_version = v.version
  AND (v.key IS NULL OR p.partition_key = v.key)

-- :name attribute_fully
-- Let the last change of partitions count as a change of all scopes instead of some. Returns the
-- affected partitions.
UPDATE knockon.partition_versions p
SET column_versions = NULL, row_changes = NULL, attributed_fingerprints = NULL
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s
  AND p.partition_key = ANY(%(keys)s) AND p.attributed_fingerprints IS NOT NULL
RETURNING p.partition_key AS key

-- :name widen_changes
-- Let the last change of partitions count as a change of further columns (null: of all), and changes
-- of some rows, if asked, as changes of everything. Returns the partitions with narrower changes.
UPDATE knockon.partition_versions p
SET (column_versions, row_changes, attributed_fingerprints) = (
    SELECT CASE WHEN NOT is_full
                THEN knockon.moved_column_versions(p.materialized_at, p.column_versions, %(columns)s::text[], p.materialized_at) END,
           CASE WHEN NOT is_full THEN p.row_changes END,
           CASE WHEN NOT is_full THEN p.attributed_fingerprints END
    FROM (SELECT %(columns)s::text[] IS NULL OR %(of_rows)s AND p.row_changes IS NOT NULL AS is_full) AS f)
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s AND p.column_versions IS NOT NULL
  AND (%(columns)s::text[] IS NULL OR %(of_rows)s AND p.row_changes IS NOT NULL
       OR EXISTS (SELECT FROM unnest(%(columns)s::text[]) AS c
                  WHERE coalesce(p.column_versions ->> c, p.column_versions ->> '*')::timestamptz < p.materialized_at))
RETURNING p.partition_key AS key

-- :name content_versions
-- The content versions of existing partitions.
SELECT p.dataset_uuid, p.partition_key, p.materialized_at
FROM unnest(%(datasets)b::uuid[], %(versions)b::uuid[], %(keys)b::text[])
    AS r(dataset, version, key)
JOIN knockon.partition_versions p
    ON p.dataset_uuid = r.dataset AND p.dataset_version = r.version AND p.partition_key = r.key

-- :name lock_contents
-- Lock the previous contents of partitions written by runs, with the current time.
SELECT g.n, p.materialized_at AS changed_at, p.column_versions,
       coalesce(p.row_changes, '[]') AS row_changes, p.fingerprint, p.column_fingerprints,
       p.attributed_fingerprints AS attributed, p.row_count,
       CASE WHEN p.unverified_at = p.materialized_at AND NOT p.is_partly_written
            THEN p.unverified_fingerprint END AS unverified_fingerprint, clock_timestamp() AS now
FROM unnest(%(datasets)b::uuid[], %(versions)b::uuid[], %(keys)b::text[]) WITH ORDINALITY
    AS g(dataset, version, key, n)
LEFT JOIN LATERAL (
    SELECT * FROM knockon.partition_versions p
    WHERE p.dataset_uuid = g.dataset AND p.dataset_version = g.version AND p.partition_key = g.key
    FOR UPDATE) AS p ON true
ORDER BY g.n

-- :name write
-- Record the partitions written by runs. Decisions to leave them stale end, except for those made
-- during the run, or about rows that the run may not have read: the key of an unpartitioned dataset
-- is also the key of all partitions built together.
WITH g AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS g(dataset_uuid uuid, dataset_version uuid,
        partition_key text, changed_at timestamptz, config_hash text, schema_hash text,
        location text, row_count bigint, bytes bigint, fingerprint text,
        column_fingerprints jsonb, column_versions jsonb, row_changes jsonb, attributed jsonb,
        task_id uuid)
), undecided AS (
    DELETE FROM knockon.stale_decisions d USING g
    WHERE (d.dataset_uuid, d.dataset_version, d.partition_key)
        = (g.dataset_uuid, g.dataset_version, g.partition_key)
      AND d.running_task IS DISTINCT FROM g.task_id
      AND NOT EXISTS (SELECT FROM knockon.single_runs u
          WHERE (u.has_unread_rows OR u.has_unread_new_rows) AND u.dataset_uuid = d.dataset_uuid AND u.dataset_version = d.dataset_version)
)
INSERT INTO knockon.partition_versions AS p (org_id, dataset_uuid, dataset_version, partition_key,
    materialized_at, config_hash, schema_hash, location, row_count, bytes, fingerprint,
    column_fingerprints, column_versions, row_changes, attributed_fingerprints, task_id)
SELECT %(org_id)s, g.* FROM g
ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
SET materialized_at = EXCLUDED.materialized_at, config_hash = EXCLUDED.config_hash,
    schema_hash = EXCLUDED.schema_hash, location = EXCLUDED.location,
    row_count = EXCLUDED.row_count, bytes = EXCLUDED.bytes, fingerprint = EXCLUDED.fingerprint,
    column_fingerprints = EXCLUDED.column_fingerprints, column_versions = EXCLUDED.column_versions,
    row_changes = EXCLUDED.row_changes,
    attributed_fingerprints = EXCLUDED.attributed_fingerprints, task_id = EXCLUDED.task_id,
    is_partly_written = false, is_declared_wrong = false

-- :name built
-- One partition, if it was ever built, with the start and the end of the last run.
SELECT p.materialized_at, p.row_count, p.task_id, t.started_at, t.completed_at
FROM knockon.partition_versions p LEFT JOIN knockon.all_tasks t ON t.id = p.task_id
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s AND p.partition_key = %(key)s

-- :name inherit
-- Copy partitions of a source to a new dataset version with compatible partitioning.
INSERT INTO knockon.partition_versions (org_id, dataset_uuid, dataset_version, partition_key,
                                materialized_at, column_versions, row_changes)
SELECT org_id, dataset_uuid, %(version)s, partition_key, materialized_at, column_versions, row_changes
FROM knockon.partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(predecessor)s
  AND partition_key = ANY(%(keys)s)
ON CONFLICT DO NOTHING

-- :name fingerprints
-- The fingerprints of partitions, null if unknown.
SELECT partition_key AS key, fingerprint FROM knockon.partition_versions
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s AND partition_key = ANY(%(keys)s::text[])

-- :name set_fingerprints
-- Store the fingerprints of partitions of a source (null: unknown).
UPDATE knockon.partition_versions p SET fingerprint = v.fingerprint
FROM unnest(%(keys)s::text[], %(fingerprints)s::text[]) AS v(key, fingerprint)
WHERE p.dataset_uuid = %(dataset)s AND p.dataset_version = %(version)s AND p.partition_key = v.key
  AND p.fingerprint IS DISTINCT FROM v.fingerprint
