-- :name lock
-- Take the lock under which positions are assigned, unless another process holds it.
SELECT pg_try_advisory_xact_lock(hashtextextended('knockon.events', 0)) AS is_held,
    EXISTS (SELECT FROM knockon.pending_events) AS has_pending

-- :name publish
-- Move events of committed transactions to the feed, with positions within their orgs: as many of each org, the oldest
-- first, so that the events of one org wait for a share of another's only.
WITH taken AS (
    DELETE FROM knockon.pending_events
    WHERE ctid = ANY (ARRAY(
        SELECT p.ctid
        FROM (SELECT ctid, occurred_at,
                  row_number() OVER (PARTITION BY org_id ORDER BY occurred_at) AS turn
              FROM knockon.pending_events) AS p
        ORDER BY p.turn, p.occurred_at LIMIT %(limit)s))
    RETURNING org_id, kind, occurred_at, subject_id, job_id, detail || jsonb_strip_nulls(jsonb_build_object(
        'block_key', block_key, 'attempt', attempt, 'worker_id', worker_id, 'outcome', outcome,
        'error', error)) AS detail
), counted AS (
    INSERT INTO knockon.event_counters AS c (org_id, last_position)
    SELECT org_id, count(*) FROM taken GROUP BY org_id
    ON CONFLICT (org_id) DO UPDATE SET last_position = c.last_position + EXCLUDED.last_position
    RETURNING org_id, last_position
)
INSERT INTO knockon.events (id, org_id, position, kind, occurred_at, subject_id, dag_name, job_name, detail)
SELECT knockon.random_id_at(now()), e.org_id,
    c.last_position + 1 - row_number() OVER (PARTITION BY e.org_id ORDER BY e.occurred_at DESC),
    e.kind, e.occurred_at, e.subject_id, j.dag_name, j.name, e.detail
FROM taken e JOIN counted c ON c.org_id = e.org_id LEFT JOIN knockon.jobs j ON j.id = e.job_id

-- :name report_lost
-- Report partitions of a dataset that the audit has found lost.
INSERT INTO knockon.pending_events (org_id, kind, subject_id, detail)
VALUES (%(org_id)s, 'partition.lost', %(dataset)s, %(detail)s)

-- :name after
-- The first events after a position, of some kinds or (null) of all.
SELECT position, id, kind, occurred_at, dag_name, job_name, subject_id, detail FROM knockon.events
WHERE org_id = %(org_id)s AND position > %(after)s
  AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
ORDER BY position LIMIT %(limit)s

-- :name newest
-- The newest events before a position, of some kinds or (null) of all.
SELECT position, id, kind, occurred_at, dag_name, job_name, subject_id, detail FROM knockon.events
WHERE org_id = %(org_id)s AND position < %(before)s
  AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
ORDER BY position DESC LIMIT %(limit)s

-- :name newest_position
-- The position of the newest event.
SELECT position FROM knockon.events WHERE org_id = %(org_id)s ORDER BY position DESC LIMIT 1

-- :name expired_to
-- The last position removed after the retention period.
SELECT last_position AS position FROM knockon.expired_events WHERE org_id = %(org_id)s

-- :name add_partition
-- Create the partition of the current month, if missing.
SELECT knockon.add_history_partition('knockon.events', now())
