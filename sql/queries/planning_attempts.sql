-- :name next_batch
-- The first and the last invalidation of the next batch, and the previous attempts: `tried` is the
-- first invalidation of the previous batch, and `tried_to` its last if it is the same batch. Without
-- previous attempts, the whole batch is suspect and may be attempted at once.
WITH batch AS (
    SELECT id, row_number() OVER (ORDER BY id) AS number
    FROM (SELECT id FROM knockon.data_invalidations i
          WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL
            AND planning_error IS NULL
            AND NOT EXISTS (SELECT FROM knockon.pauses p WHERE p.org_id = %(org_id)s AND p.kind = 'org')
            AND dataset_uuid <> ALL (ARRAY(SELECT h.dataset_uuid FROM knockon.held_datasets h WHERE h.org_id = %(org_id)s))
            AND (i.after_partition IS NULL
                 OR NOT EXISTS (SELECT FROM knockon.waiting_invalidations w WHERE w.id = i.id))
          ORDER BY id LIMIT %(limit)s) AS open)
SELECT first.id AS oldest, last.id AS newest, last.number::int AS size,
       a.oldest AS tried, coalesce(a.suspects_to, last.id) AS suspects_to,
       coalesce(a.batch_limit, %(limit)s) AS batch_limit, coalesce(a.attempts, 0) AS attempts,
       (SELECT id FROM batch WHERE number <= coalesce(a.batch_limit, %(limit)s)
        ORDER BY number DESC LIMIT 1) AS tried_to
FROM (SELECT id FROM batch ORDER BY number LIMIT 1) AS first
CROSS JOIN (SELECT id, number FROM batch ORDER BY number DESC LIMIT 1) AS last
LEFT JOIN knockon.planning_attempts a ON a.org_id = %(org_id)s

-- :name begin
-- Count an attempt before it begins. A crash of the server may undo the count, a crash of the
-- planner may not.
WITH setting AS (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO knockon.planning_attempts (org_id, oldest, suspects_to, batch_limit, attempts)
SELECT %(org_id)s, %(oldest)s, %(suspects_to)s, %(batch_limit)s, %(attempts)s FROM setting
ON CONFLICT (org_id) DO UPDATE SET oldest = excluded.oldest, suspects_to = excluded.suspects_to,
    batch_limit = excluded.batch_limit, attempts = excluded.attempts

-- :name discount
-- Discount the last attempt, which ended with an error of its own.
UPDATE knockon.planning_attempts SET attempts = attempts - 1
WHERE org_id = %(org_id)s AND attempts > 0

-- :name extend_timeout
-- Extend the idle timeout for the planning of a single invalidation.
SELECT set_config('idle_in_transaction_session_timeout', '10min', true)

-- :name reset
-- Reset the count after a faulty invalidation was isolated.
DELETE FROM knockon.planning_attempts WHERE org_id = %(org_id)s

-- :name terminate_frozen
-- End the sessions that hold the planning lock of an org, and have waited for their client for some
-- seconds. The halves of an advisory lock's key are in classid and objid.
SELECT a.pid, coalesce(a.client_addr::text, 'local') AS host, pg_terminate_backend(a.pid) AS is_ended
FROM (SELECT hashtextextended('knockon.plan ' || %(org_id)s::text, 0) AS key) AS planning,
    pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  AND l.classid::bigint = (planning.key >> 32) & 4294967295
  AND l.objid::bigint = planning.key & 4294967295
  AND a.wait_event = 'ClientRead'
  AND greatest(a.query_start, a.state_change) < clock_timestamp() - %(seconds)s * interval '1 second'
