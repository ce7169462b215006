-- :name insert
-- A batch of coalesced invalidations, each with all of its partition keys (null: all of the dataset), since
-- what it says of them is the same and may be long. An idempotency key that is known already is the
-- same invalidation again: nothing is added.
INSERT INTO knockon.data_invalidations (id, org_id, dataset_uuid, dataset_version, scope, partition_key,
    row_filter, reason, source_event, columns, events, idempotency_key, request_hash, outcome,
    processed_at)
SELECT part.id, %(org_id)s, v.dataset_uuid, v.dataset_version,
    CASE WHEN v.row_filter IS NOT NULL THEN 'row_range'
         WHEN part.key IS NULL THEN 'dataset' ELSE 'partition' END,
    part.key, v.row_filter, v.reason, v.source_event, v.columns, v.events,
    v.idempotency_key || '#' || part.number - 1, v.request_hash, v.outcome,
    CASE WHEN v.outcome IS NOT NULL THEN clock_timestamp() END
FROM jsonb_to_recordset(%(invalidations)s) AS v(dataset_uuid uuid, dataset_version uuid,
        row_filter jsonb, reason text, source_event jsonb, columns text[], events int,
        idempotency_key text, request_hash text, outcome text, ids uuid[], partition_keys text[]),
    unnest(v.ids, v.partition_keys) WITH ORDINALITY AS part(id, key, number)
ON CONFLICT (org_id, idempotency_key) DO NOTHING
RETURNING id

-- :name by_key
-- What an earlier request with this key has left; it may have been several rows, numbered from 0.
SELECT id FROM knockon.data_invalidations
WHERE org_id = %(org_id)s AND starts_with(idempotency_key, %(key)s || '#')
  AND substr(idempotency_key, length(%(key)s) + 2) ~ '^[0-9]+$'
ORDER BY id

-- :name reused_key
-- One of the keys that was used before with a different request.
SELECT u.key
FROM unnest(%(keys)s::text[], %(hashes)s::text[]) AS u(key, hash)
JOIN knockon.data_invalidations i ON i.org_id = %(org_id)s AND i.idempotency_key = u.key || '#0'
WHERE i.request_hash IS DISTINCT FROM u.hash
LIMIT 1

-- :name withdraw
-- Rows that the same transaction has just inserted.
DELETE FROM knockon.data_invalidations WHERE id = ANY(%(ids)s)

-- :name known_versions
-- Those of the versions that the dataset at the same place has or had.
SELECT v.id
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS u(dataset, version)
JOIN knockon.dataset_versions v ON v.id = u.version AND v.dataset_uuid = u.dataset

-- :name former_columns
-- The columns that datasets have had in any of their versions.
SELECT v.dataset_uuid, array_agg(DISTINCT c.name) AS columns
FROM knockon.dataset_versions v CROSS JOIN LATERAL unnest(v.columns) AS c(name)
WHERE v.dataset_uuid = ANY(%(datasets)s::uuid[])
GROUP BY v.dataset_uuid

-- :name lock_open
-- The oldest invalidations that nobody has planned yet; those of a held plan wait for a person, and those
-- set aside for a replay.
SELECT i.id, i.dataset_uuid, i.dataset_version, i.partition_key, i.row_filter, i.reason,
       i.columns, i.processed_by
FROM knockon.data_invalidations i
WHERE i.org_id = %(org_id)s AND i.processed_at IS NULL AND i.plan_id IS NULL
  AND i.planning_error IS NULL
ORDER BY i.id LIMIT %(limit)s
FOR UPDATE SKIP LOCKED

-- :name lock_these
-- Some invalidations, to be planned at once.
SELECT i.id, i.dataset_uuid, i.dataset_version, i.partition_key, i.row_filter, i.reason,
       i.columns, i.processed_by
FROM knockon.data_invalidations i WHERE i.id = ANY(%(ids)s) ORDER BY i.id FOR UPDATE

-- :name inheritable
-- What was said of a generation and is not planned yet, or held; or was set aside while nobody served
-- the dataset.
SELECT id, partition_key FROM knockon.data_invalidations
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(previous)s
  AND (processed_at IS NULL OR outcome = 'not_current')
ORDER BY id FOR UPDATE

-- :name inherit
-- It is about the generation that comes; null: all of that.
UPDATE knockon.data_invalidations i SET dataset_version = %(version)s, partition_key = v.key,
    processed_at = NULL, outcome = NULL, planning_error = NULL, set_aside_at = NULL,
    scope = CASE WHEN v.key IS NULL AND i.scope = 'partition' THEN 'dataset' ELSE i.scope END
FROM unnest(%(ids)s::uuid[], %(keys)s::text[]) AS v(id, key)
WHERE i.id = v.id

-- :name processed
-- Append the jobs that have their tasks now, and close the invalidations whose jobs all have.
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

-- :name hold
-- Invalidations whose plan waits for approval stay open, and no planner takes them meanwhile.
UPDATE knockon.data_invalidations SET plan_id = %(plan_id)s, outcome = 'held' WHERE id = ANY(%(ids)s)

-- :name reject
-- Nothing runs for the invalidations of a plan that was refused.
UPDATE knockon.data_invalidations SET processed_at = clock_timestamp(), outcome = 'rejected'
WHERE id = ANY(%(ids)s) AND processed_at IS NULL

-- :name not_current
-- Invalidations about a generation that is not served are kept, and not routed.
UPDATE knockon.data_invalidations SET processed_at = clock_timestamp(), outcome = 'not_current'
WHERE id = ANY(%(ids)s)

-- :name set_aside
-- An invalidation that cannot be planned stays open, with the reason, until it is replayed.
UPDATE knockon.data_invalidations
SET planning_error = %(error)s, set_aside_at = clock_timestamp(), outcome = 'set_aside'
WHERE id = %(id)s

-- :name replay
-- Have invalidations that were set aside planned again; null ids: all of the org's. ``whole`` widens
-- each to all that exists of its dataset.
UPDATE knockon.data_invalidations
SET planning_error = NULL, set_aside_at = NULL, outcome = NULL,
    scope = CASE WHEN %(whole)s THEN 'dataset' ELSE scope END,
    partition_key = CASE WHEN %(whole)s THEN NULL ELSE partition_key END,
    columns = CASE WHEN %(whole)s THEN NULL ELSE columns END,
    row_filter = CASE WHEN %(whole)s THEN NULL ELSE row_filter END
WHERE org_id = %(org_id)s AND planning_error IS NOT NULL
  AND (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s))
RETURNING id

-- :name list
-- The newest invalidations, for people.
SELECT i.id, d.name AS dataset, i.scope, i.partition_key, i.columns, i.row_filter, i.reason,
       i.events, i.created_at, i.processed_at, i.outcome, cardinality(i.processed_by) AS jobs,
       i.plan_id, i.source_event, i.planning_error
FROM knockon.data_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org_id)s
  AND (%(dataset)s::text IS NULL OR d.name = %(dataset)s)
  AND (NOT %(open)s OR i.processed_at IS NULL)
  AND (NOT %(set_aside)s OR i.planning_error IS NOT NULL)
ORDER BY i.id DESC LIMIT %(limit)s

-- :name by_ids
-- Invalidations with the event that they stand for.
SELECT i.id, d.name AS dataset, i.scope, i.partition_key, i.columns, i.row_filter, i.reason,
       i.events, i.source_event, i.created_at, i.processed_at, i.outcome,
       cardinality(i.processed_by) AS jobs, i.plan_id, i.planning_error
FROM knockon.data_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org_id)s AND i.id = ANY(%(ids)s) ORDER BY i.id

-- :name open_over
-- Invalidations that call a dataset stale and are still waiting for a planner; others call its readers so.
SELECT id, partition_key, planning_error FROM knockon.data_invalidations
WHERE org_id = %(org_id)s AND dataset_uuid = %(dataset)s
  AND processed_at IS NULL AND plan_id IS NULL AND reason NOT IN ('rewritten', 'found')
