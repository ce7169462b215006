-- Quotas of orgs: an index to count the unfinished work of one org, and the sizes of its stored logs.
-- knockon: locks knockon.tasks SHARE
-- knockon: locks knockon.task_attempts_history SHARE
-- knockon: locks knockon.orgs SHARE ROW EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- No other statement has the condition in this form: with statistics of a quiet time, the planner takes
-- the index for empty, and would read a whole wave by it.
CREATE INDEX tasks_unfinished ON tasks (org_id, status)
    WHERE lower(status) IN ('blocked', 'queued', 'running', 'failed');

-- The bytes of the logs in the history, by the month of the tasks. Logs of up to 100 bytes do not
-- count: the note that replaces a dropped log is as long.
CREATE TABLE stored_logs (
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    month timestamptz NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (org_id, month)
);
CREATE INDEX task_attempts_history_logs ON task_attempts_history (org_id, task_id)
    WHERE octet_length(log) > 100;

-- The time in an id of version 7.
CREATE FUNCTION moment_of(id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0);

INSERT INTO stored_logs (org_id, month, bytes)
SELECT a.org_id, date_trunc('month', moment_of(a.task_id), 'UTC'), sum(octet_length(a.log))
FROM task_attempts_history a JOIN orgs o ON o.id = a.org_id
WHERE octet_length(a.log) > 100
GROUP BY 1, 2;
