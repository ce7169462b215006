-- Logs of running attempts, written with heartbeats.

SET LOCAL search_path = knockon, pg_temp;

-- The output of the newest attempt at a task so far, at most 64 KiB. Unlogged, because a crash of the
-- server loses only what the next heartbeat writes again. Rows of ended attempts are removed later.
CREATE UNLOGGED TABLE running_logs (
    task_id uuid PRIMARY KEY,
    number int NOT NULL,
    org_id uuid NOT NULL,
    log text NOT NULL
);

-- All attempts; the outcome of a running one is null.
CREATE OR REPLACE VIEW all_attempts AS
SELECT task_id, number, org_id, worker_id, started_at, ended_at, outcome, error_message, log
FROM task_attempts
UNION ALL
SELECT task_id, number, org_id, worker_id, started_at, ended_at, outcome, error_message, log
FROM task_attempts_history
UNION ALL
SELECT t.id, t.earlier_attempts + t.attempts, t.org_id, t.worker_id, t.started_at, NULL, NULL, NULL,
    coalesce((SELECT l.log FROM running_logs l
              WHERE l.task_id = t.id AND l.number = t.earlier_attempts + t.attempts), '')
FROM tasks t WHERE t.status = 'running';
