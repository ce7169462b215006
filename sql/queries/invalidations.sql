-- :name insert
-- Insert coalesced invalidations, each with a row per partition key (null: the whole dataset),
-- because all of its keys share the other values, which may be long. A known idempotency key marks
-- a repeated request, which inserts nothing. There is an event for each dataset and reason.
WITH v AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(invalidations)s) AS v(dataset_uuid uuid, dataset_version uuid,
        row_filter jsonb, reason text, source_event jsonb, columns text[], events int,
        idempotency_key text, request_hash text, outcome text, fingerprint text,
        after_partition text, ids uuid[], partition_keys text[])
), new_keys AS (
    INSERT INTO knockon.idempotency_keys AS k (org_id, key, request_hash, invalidation_ids)
    SELECT %(org_id)s, v.idempotency_key, v.request_hash, v.ids FROM v
    WHERE v.idempotency_key IS NOT NULL
    ORDER BY v.idempotency_key -- so that concurrent requests wait for each other in one direction only
    ON CONFLICT DO NOTHING RETURNING k.invalidation_ids
), inserted AS (
    INSERT INTO knockon.data_invalidations (id, org_id, dataset_uuid, dataset_version, scope,
        partition_key, row_filter, reason, source_event, columns, events, idempotency_key,
        request_hash, outcome, fingerprint, after_partition, is_debounced, processed_at)
    SELECT part.id, %(org_id)s, v.dataset_uuid, v.dataset_version,
        CASE WHEN v.row_filter IS NOT NULL THEN 'row_range'
             WHEN part.key IS NULL THEN 'dataset' ELSE 'partition' END,
        part.key, v.row_filter, v.reason, v.source_event, v.columns, v.events,
        v.idempotency_key || '#' || part.number - 1, v.request_hash, v.outcome, v.fingerprint,
        v.after_partition,
        (SELECT d.debounce IS NOT NULL AND v.reason NOT IN ('continued', 'requested')
         FROM knockon.datasets d WHERE d.id = v.dataset_uuid),
        CASE WHEN v.outcome IS NOT NULL THEN clock_timestamp() END
    FROM v, unnest(v.ids, v.partition_keys) WITH ORDINALITY AS part(id, key, number)
    WHERE v.idempotency_key IS NULL OR v.ids IN (SELECT invalidation_ids FROM new_keys)
    RETURNING id, dataset_uuid, reason
), reported AS (
    INSERT INTO knockon.pending_events (org_id, kind, subject_id, detail)
    SELECT %(org_id)s, 'invalidation.recorded', i.dataset_uuid, jsonb_build_object(
        'dataset', (SELECT d.name FROM knockon.datasets d WHERE d.id = i.dataset_uuid),
        'reason', i.reason, 'count', count(*))
    FROM inserted i GROUP BY i.dataset_uuid, i.reason
)
SELECT id FROM inserted

-- :name by_keys
-- The invalidations of earlier requests with these keys.
SELECT key, invalidation_ids AS invalidations FROM knockon.idempotency_keys
WHERE org_id = %(org_id)s AND key = ANY(%(keys)s)

-- :name reused_key
-- A key that was used before with a different request.
SELECT u.key
FROM unnest(%(keys)s::text[], %(hashes)s::text[]) AS u(key, hash)
JOIN knockon.idempotency_keys k ON k.org_id = %(org_id)s AND k.key = u.key
WHERE k.request_hash IS DISTINCT FROM u.hash
LIMIT 1

-- :name known_versions
-- Those of the versions that are current or earlier versions of the given datasets.
SELECT v.id
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS u(dataset, version)
JOIN knockon.dataset_versions v ON v.id = u.version AND v.dataset_uuid = u.dataset

-- :name earlier_columns
-- The columns of all versions of datasets, current and earlier.
SELECT v.dataset_uuid, array_agg(DISTINCT c.name) AS columns
FROM knockon.dataset_versions v CROSS JOIN LATERAL unnest(v.columns) AS c(name)
WHERE v.dataset_uuid = ANY(%(datasets)s::uuid[])
GROUP BY v.dataset_uuid

-- :name lock_open
-- Lock the oldest invalidations that are not planned yet. Invalidations of plans pending approval
-- wait for a review, those set aside for a replay, those of paused datasets for a resume, those of
-- datasets with a debounce until they are gathered, and those of later partitions for earlier ones.
-- The limit is unknown to the query planner, which otherwise would sort all of a new wave, if its
-- statistics promise only a few.
SELECT i.id, i.dataset_uuid, i.dataset_version, i.partition_key, i.row_filter, i.reason,
       i.columns, i.processed_by, i.fingerprint
FROM knockon.data_invalidations i
WHERE i.org_id = %(org_id)s AND i.processed_at IS NULL AND i.plan_id IS NULL
  AND i.planning_error IS NULL
  AND NOT EXISTS (SELECT FROM knockon.pauses p WHERE p.org_id = %(org_id)s AND p.kind = 'org')
  AND i.dataset_uuid <> ALL (ARRAY(SELECT h.dataset_uuid FROM knockon.held_datasets h WHERE h.org_id = %(org_id)s))
  AND (i.after_partition IS NULL
       OR NOT EXISTS (SELECT FROM knockon.waiting_invalidations w WHERE w.id = i.id))
ORDER BY i.id LIMIT (SELECT %(limit)s::bigint)
FOR UPDATE SKIP LOCKED

-- :name are_waiting
-- Whether any invalidation waits for an earlier partition.
SELECT EXISTS (SELECT FROM knockon.data_invalidations
               WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL
                 AND planning_error IS NULL AND after_partition IS NOT NULL) AS waiting

-- :name lock_these
-- Lock invalidations for planning.
SELECT i.id, i.dataset_uuid, i.dataset_version, i.partition_key, i.row_filter, i.reason,
       i.columns, i.processed_by, i.fingerprint
FROM knockon.data_invalidations i WHERE i.id = ANY(%(ids)s) ORDER BY i.id FOR UPDATE

-- :name inheritable
-- Lock the invalidations of an earlier dataset version that are not planned yet, that are part of a
-- plan pending approval, or that were set aside while the dataset had no current version.
SELECT id, partition_key FROM knockon.data_invalidations
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(predecessor)s
  AND (processed_at IS NULL OR outcome = 'not_current')
ORDER BY id FOR UPDATE

-- :name open_requests
-- Lock the invalidations that ask for partitions of an earlier version of a produced dataset and are
-- not planned yet, or part of a plan pending approval.
SELECT id, partition_key FROM knockon.data_invalidations
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(predecessor)s
  AND processed_at IS NULL AND planning_error IS NULL AND partition_key IS NOT NULL
  AND reason NOT IN ('rewritten', 'found')
ORDER BY id FOR UPDATE

-- :name open_parts
-- Lock the open invalidations of parts of a dataset version.
SELECT id, partition_key FROM knockon.data_invalidations
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s
  AND processed_at IS NULL AND partition_key IS NOT NULL
ORDER BY id FOR UPDATE

-- :name inherit
-- Assign invalidations to a new dataset version; a null key is the whole dataset. Those of a plan
-- pending approval keep it; any other plan was made for the earlier version, and is void.
UPDATE knockon.data_invalidations i SET dataset_version = %(version)s, partition_key = v.key,
    processed_at = NULL, planning_error = NULL, set_aside_at = NULL,
    plan_id = CASE WHEN i.outcome = 'pending_approval' THEN i.plan_id END,
    outcome = CASE WHEN i.outcome = 'pending_approval' THEN i.outcome END,
    scope = CASE WHEN v.key IS NULL AND i.scope = 'partition' THEN 'dataset' ELSE i.scope END
FROM unnest(%(ids)s::uuid[], %(keys)s::text[]) AS v(id, key)
WHERE i.id = v.id

-- :name processed
-- Record the jobs that have received their tasks, and close the invalidations.
UPDATE knockon.data_invalidations i
SET processed_by = i.processed_by || (
        SELECT coalesce(array_agg(j), '{}')
        FROM jsonb_array_elements_text(v.jobs) AS e(job), LATERAL (SELECT e.job::uuid) AS c(j)
        WHERE NOT c.j = ANY (i.processed_by)),
    processed_at = clock_timestamp(),
    plan_id = %(plan_id)s,
    outcome = v.outcome
FROM jsonb_to_recordset(%(rows)s) AS v(id uuid, jobs jsonb, outcome text)
WHERE i.id = v.id

-- :name assign_to_pending_plan
-- Assign invalidations to a plan pending approval. They stay open, and no planner takes them
-- meanwhile. Later events may describe their partitions before the review.
UPDATE knockon.data_invalidations
SET plan_id = %(plan_id)s, outcome = 'pending_approval', fingerprint = NULL
WHERE id = ANY(%(ids)s)

-- :name reject
-- Close the invalidations of a rejected plan, also those of earlier dataset versions, which would
-- be planned if a deploy brings their source back.
UPDATE knockon.data_invalidations SET processed_at = clock_timestamp(), outcome = 'rejected'
WHERE id = ANY(%(ids)s)

-- :name not_current
-- Close invalidations of dataset versions that are not current, without planning them.
UPDATE knockon.data_invalidations SET processed_at = clock_timestamp(), outcome = 'not_current'
WHERE id = ANY(%(ids)s)

-- :name set_aside
-- Record why an invalidation cannot be planned. It stays open until it is replayed. The fingerprints of
-- the partitions of a source are unknown from then on, and so is its own at a replay.
WITH unknown AS (
    UPDATE knockon.partition_versions p SET fingerprint = NULL
    FROM knockon.data_invalidations i
    WHERE i.id = %(id)s AND p.dataset_uuid = i.dataset_uuid AND p.dataset_version = i.dataset_version
      AND p.fingerprint IS NOT NULL AND p.task_id IS NULL
), reported AS (
    INSERT INTO knockon.pending_events (org_id, kind, subject_id, detail)
    SELECT i.org_id, 'invalidation.set_aside', i.id, jsonb_build_object(
        'dataset', (SELECT d.name FROM knockon.datasets d WHERE d.id = i.dataset_uuid),
        'partition', i.partition_key, 'error', left(%(error)s, 1000))
    FROM knockon.data_invalidations i WHERE i.id = %(id)s
)
UPDATE knockon.data_invalidations
SET planning_error = %(error)s, set_aside_at = clock_timestamp(), outcome = 'set_aside',
    fingerprint = NULL
WHERE id = %(id)s

-- :name replay
-- Have set-aside invalidations planned again; null ids select all of the org's. ``whole`` widens
-- each to all existing partitions of its dataset, and its conditions to all rows ('{}').
UPDATE knockon.data_invalidations
SET planning_error = NULL, set_aside_at = NULL, outcome = NULL,
    scope = CASE WHEN %(whole)s THEN 'dataset' ELSE scope END,
    partition_key = CASE WHEN %(whole)s THEN NULL ELSE partition_key END,
    columns = CASE WHEN %(whole)s THEN NULL ELSE columns END,
    row_filter = CASE WHEN %(whole)s AND row_filter IS NOT NULL THEN '{}' ELSE row_filter END
WHERE org_id = %(org_id)s AND planning_error IS NOT NULL
  AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s))
  AND (%(hidden)s::uuid[] IS NULL OR dataset_uuid <> ALL(%(hidden)s::uuid[]))
RETURNING id

-- :name list
-- The newest invalidations before an id.
SELECT i.id, d.name AS dataset, i.scope, i.partition_key, i.columns, i.row_filter, i.reason,
       i.events, i.created_at, i.processed_at, i.outcome, cardinality(i.processed_by) AS jobs,
       i.plan_id, i.source_event, i.planning_error
FROM knockon.all_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org_id)s
  AND (%(dataset)s::text IS NULL OR d.name = %(dataset)s)
  AND (NOT %(open)s OR i.processed_at IS NULL)
  AND (NOT %(set_aside)s OR i.planning_error IS NOT NULL)
  AND (%(hidden)s::uuid[] IS NULL OR i.dataset_uuid <> ALL(%(hidden)s::uuid[]))
  AND i.id < %(before)s
ORDER BY i.id DESC LIMIT %(limit)s

-- :name by_ids
-- Invalidations with their source events.
SELECT i.id, d.name AS dataset, i.scope, i.partition_key, i.columns, i.row_filter, i.reason,
       i.events, i.created_at, i.processed_at, i.outcome, cardinality(i.processed_by) AS jobs,
       i.plan_id, i.source_event, i.planning_error
FROM knockon.all_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org_id)s AND i.id = ANY(%(ids)s) ORDER BY i.id

-- :name open_over
-- Open invalidations of a dataset's own partitions; other reasons concern its readers only. Those
-- set aside for earlier dataset versions concern nothing any more.
SELECT id, partition_key, planning_error FROM knockon.data_invalidations
WHERE org_id = %(org_id)s AND dataset_uuid = %(dataset)s
  AND processed_at IS NULL AND plan_id IS NULL AND reason NOT IN ('rewritten', 'found')
  AND (planning_error IS NULL OR dataset_version = %(version)s)
