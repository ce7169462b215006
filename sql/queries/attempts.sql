-- :name record
-- Record the end of unsuccessful attempts at running tasks, locked before. An attempt ended by others
-- has the log stored with the last heartbeat.
INSERT INTO knockon.task_attempts
    (task_id, number, org_id, worker_id, started_at, ended_at, outcome, error_message, log)
SELECT t.id, t.earlier_attempts + t.attempts, t.org_id, t.worker_id, t.started_at, clock_timestamp(),
    %(outcome)s, %(error)s, coalesce(nullif(%(log)s, ''), (
        SELECT l.log FROM knockon.running_logs l
        WHERE l.task_id = t.id AND l.number = t.earlier_attempts + t.attempts), '')
FROM knockon.tasks t WHERE t.id = %(id)s AND t.status COLLATE "C" = 'running'
ON CONFLICT DO NOTHING

-- :name add_log
-- Add the whole log to the newest attempt of a worker at a task, if something other than the run has
-- ended it.
UPDATE knockon.task_attempts a SET log = %(log)s
WHERE a.task_id = %(task)s AND a.outcome IN ('canceled', 'lease_expired')
  AND a.number = (SELECT max(b.number) FROM knockon.task_attempts b
                  WHERE b.task_id = %(task)s AND b.worker_id = %(worker)s)

-- :name store_running
-- Store the logs of running attempts so far; only running tasks have a token.
INSERT INTO knockon.running_logs (task_id, number, org_id, log)
SELECT t.id, t.earlier_attempts + t.attempts, t.org_id, v.log
FROM unnest((SELECT %(ids)s::uuid[]), (SELECT %(tokens)s::uuid[]), (SELECT %(logs)s::text[]))
    AS v(id, token, log),
    LATERAL (SELECT t.id, t.earlier_attempts, t.attempts, t.org_id FROM knockon.tasks t
             WHERE t.id = v.id AND t.lease_token = v.token OFFSET 0) AS t
ORDER BY t.id
ON CONFLICT (task_id) DO UPDATE SET number = EXCLUDED.number, log = EXCLUDED.log

-- :name remove_running
-- Remove the logs of ended attempts, which are recorded with the attempts.
DELETE FROM knockon.running_logs l
WHERE l.org_id = %(org_id)s AND NOT EXISTS (
    SELECT FROM knockon.tasks t
    WHERE t.id = l.task_id AND t.status COLLATE "C" = 'running'
      AND t.earlier_attempts + t.attempts = l.number OFFSET 0)

-- :name of_task
-- The attempts at a task, of a number or (null) all.
SELECT number, worker_id, started_at, ended_at, outcome, error_message, log
FROM knockon.all_attempts
WHERE org_id = %(org_id)s AND task_id = %(task)s
  AND (%(number)s::int IS NULL OR number = %(number)s)
ORDER BY number

-- :name summaries
-- The attempts at a task, without logs.
SELECT number, worker_id, started_at, ended_at, outcome, error_message
FROM knockon.all_attempts WHERE org_id = %(org_id)s AND task_id = %(task)s ORDER BY number
