-- :name record
-- Record the end of unsuccessful attempts at running tasks, locked before.
INSERT INTO knockon.task_attempts
    (task_id, number, org_id, worker_id, started_at, ended_at, outcome, error_message, log)
SELECT t.id, t.earlier_attempts + t.attempts, t.org_id, t.worker_id, t.started_at, clock_timestamp(),
    %(outcome)s, %(error)s, %(log)s
FROM knockon.tasks t WHERE t.id = %(id)s AND t.status COLLATE "C" = 'running'
ON CONFLICT DO NOTHING

-- :name add_log
-- Add a log to the newest attempt of a worker at a task, if something other than the run has ended it.
UPDATE knockon.task_attempts a SET log = %(log)s
WHERE a.task_id = %(task)s AND a.outcome IN ('canceled', 'lease_expired') AND a.log = ''
  AND a.number = (SELECT max(b.number) FROM knockon.task_attempts b
                  WHERE b.task_id = %(task)s AND b.worker_id = %(worker)s)

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
