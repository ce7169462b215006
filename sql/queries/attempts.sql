-- :name next_batch
-- The ends of the next batch of open invalidations, and the attempts at the batch before: `tried` is
-- its first invalidation, `tried_to` its last, if it has the same first one.
WITH batch AS (
    SELECT id, row_number() OVER (ORDER BY id) AS number
    FROM (SELECT id FROM knockon.data_invalidations
          WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL
            AND planning_error IS NULL
          ORDER BY id LIMIT %(limit)s) AS open)
SELECT first.id AS oldest, last.id AS newest, last.number::int AS size,
       a.oldest AS tried, a.suspects_to, a.batch_limit, a.attempts,
       (SELECT id FROM batch WHERE number <= a.batch_limit ORDER BY number DESC LIMIT 1) AS tried_to
FROM (SELECT id FROM batch ORDER BY number LIMIT 1) AS first
CROSS JOIN (SELECT id, number FROM batch ORDER BY number DESC LIMIT 1) AS last
LEFT JOIN knockon.planning_attempts a ON a.org_id = %(org_id)s

-- :name begin
-- Counts an attempt that is about to begin. The crash of the server may undo it; that of the planner
-- may not.
WITH setting AS (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO knockon.planning_attempts (org_id, oldest, suspects_to, batch_limit, attempts)
SELECT %(org_id)s, %(oldest)s, %(suspects_to)s, %(batch_limit)s, %(attempts)s FROM setting
ON CONFLICT (org_id) DO UPDATE SET oldest = excluded.oldest, suspects_to = excluded.suspects_to,
    batch_limit = excluded.batch_limit, attempts = excluded.attempts

-- :name forgive
-- The attempt that was begun last ended with an error that has a reason of its own.
UPDATE knockon.planning_attempts SET attempts = attempts - 1
WHERE org_id = %(org_id)s AND attempts > 0

-- :name patience
-- Leave a planner at work on a single invalidation the time that its computation may take.
SELECT set_config('idle_in_transaction_session_timeout', '10min', true)

-- :name forget
-- The batch is isolated: what comes next starts anew.
DELETE FROM knockon.planning_attempts WHERE org_id = %(org_id)s
