-- Attempts at tasks: a row for each, written when the attempt ends, with the end of its log.
-- knockon: locks knockon.tasks ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- The attempts before a failed task was queued again, when `attempts` starts from 0.
ALTER TABLE tasks ADD COLUMN earlier_attempts int NOT NULL DEFAULT 0;

-- There are no foreign keys, because a look-up of the task would cost more than the row.
CREATE TABLE task_attempts (
    task_id uuid NOT NULL,
    -- From 1 for each task.
    number int NOT NULL,
    org_id uuid NOT NULL,
    worker_id text,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'lease_expired', 'canceled')),
    error_message text,
    -- The end of the run's output, at most 64 KiB.
    log text NOT NULL,
    PRIMARY KEY (task_id, number)
);

-- Attempts of archived tasks, in partitions for the months of the tasks.
CREATE TABLE task_attempts_history (
    LIKE task_attempts, PRIMARY KEY (task_id, number)
) PARTITION BY RANGE (task_id);

-- All attempts; the outcome of a running one is null.
CREATE VIEW all_attempts AS
SELECT task_id, number, org_id, worker_id, started_at, ended_at, outcome, error_message, log
FROM task_attempts
UNION ALL
SELECT task_id, number, org_id, worker_id, started_at, ended_at, outcome, error_message, log
FROM task_attempts_history
UNION ALL
SELECT id, earlier_attempts + attempts, org_id, worker_id, started_at, NULL, NULL, NULL, ''
FROM tasks WHERE status = 'running';

-- Remove the oldest month of a history table that ended before a time, and return its name; null if
-- there is none. For tables without rows that explain an existing partition.
CREATE FUNCTION drop_history_month(history regclass, before timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = knockon, pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    month text;
BEGIN
    IF history <> ALL (ARRAY['task_attempts_history']::regclass[]) THEN
        RAISE EXCEPTION 'months of % are not dropped as a whole', history;
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('knockon.history ' || history::text, 0)) THEN
        RETURN NULL;
    END IF;
    SELECT c.relname INTO month
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
        LATERAL (SELECT b[1]::uuid AS lower, b[2]::uuid AS upper
                 FROM regexp_match(pg_get_expr(c.relpartbound, c.oid), '''(.*)''.*''(.*)''') AS b) AS bounds
    WHERE i.inhparent = history AND bounds.upper <= first_id_at(before)
    ORDER BY bounds.lower LIMIT 1;
    IF month IS NOT NULL THEN
        EXECUTE format('DROP TABLE %I', month);
    END IF;
    RETURN month;
END $$;
