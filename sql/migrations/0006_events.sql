-- The feed of events of each org. A transaction adds its events to `pending_events`; a loop of the
-- engines moves those of committed transactions to `events`, and gives them positions.
-- knockon: locks knockon.tasks SHARE ROW EXCLUSIVE
-- knockon: locks knockon.plans SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dead_letters SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dag_current_versions SHARE ROW EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- There is no index, because every row is soon deleted, and completions write several thousand a second.
CREATE TABLE pending_events (
    org_id uuid NOT NULL,
    kind text NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The task, plan, dataset, dead letter or DAG version.
    subject_id uuid NOT NULL,
    -- Of a task, as columns, because building a document would take longer than writing the row.
    job_id uuid,
    block_key text,
    attempt int,
    worker_id text,
    outcome text,
    error text,
    detail jsonb NOT NULL DEFAULT '{}'
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);

-- Only one transaction at a time assigns positions, so that positions become visible in their order.
CREATE SEQUENCE event_positions;

CREATE TABLE events (
    -- Of version 7, with the time of publication.
    id uuid NOT NULL,
    org_id uuid NOT NULL,
    position bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN (
        'invalidation.recorded', 'plan.pending_approval', 'plan.applied', 'plan.rejected',
        'task.started', 'task.succeeded', 'task.skipped', 'task.attempt_failed', 'task.failed',
        'task.retried', 'task.canceled', 'dag.deployed', 'dead_letter.recorded')),
    occurred_at timestamptz NOT NULL,
    subject_id uuid NOT NULL,
    dag_name text,
    job_name text,
    detail jsonb NOT NULL,
    PRIMARY KEY (org_id, position, id)
) PARTITION BY RANGE (id);

-- The last position of each org that was removed from the events.
CREATE TABLE expired_events (
    org_id uuid PRIMARY KEY,
    last_position bigint NOT NULL
);

-- A random UUID of version 7 of a millisecond.
CREATE FUNCTION random_id_at(moment timestamptz) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN (left(first_id_at(moment)::text, 14) || '7' || right(gen_random_uuid()::text, 21))::uuid;

-- A status withdrawn in the transaction that set it is not reported.
CREATE FUNCTION add_task_events() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO knockon.pending_events
        (org_id, kind, subject_id, job_id, block_key, attempt, worker_id, outcome, error)
    SELECT n.org_id,
        CASE n.status WHEN 'running' THEN 'task.started' ELSE 'task.' || n.status END,
        n.id, n.job_id, n.block_key, nullif(n.earlier_attempts + n.attempts, 0), n.worker_id, n.outcome,
        left(n.error_message, 1000)
    FROM new_tasks n JOIN old_tasks o ON o.id = n.id
    WHERE n.status <> o.status AND n.status NOT IN ('blocked', 'queued');
    IF EXISTS (SELECT FROM new_tasks WHERE status IN ('blocked', 'queued')) THEN
        INSERT INTO knockon.pending_events
            (org_id, kind, subject_id, job_id, block_key, attempt, worker_id, error)
        SELECT n.org_id,
            CASE o.status WHEN 'running' THEN 'task.attempt_failed' ELSE 'task.retried' END,
            n.id, n.job_id, n.block_key, o.earlier_attempts + o.attempts, n.worker_id,
            left(n.error_message, 1000)
        FROM new_tasks n JOIN old_tasks o ON o.id = n.id
        WHERE n.status IN ('blocked', 'queued') AND o.status NOT IN ('blocked', 'queued')
          AND o.status <> 'skipped';
        IF EXISTS (SELECT FROM old_tasks WHERE status = 'skipped') THEN
            DELETE FROM knockon.pending_events e
            USING new_tasks n JOIN old_tasks o ON o.id = n.id
            WHERE o.status = 'skipped' AND n.status <> 'skipped'
              AND e.subject_id = n.id AND e.kind = 'task.skipped';
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER events AFTER UPDATE ON tasks REFERENCING OLD TABLE AS old_tasks NEW TABLE AS new_tasks
    FOR EACH STATEMENT EXECUTE FUNCTION add_task_events();

CREATE FUNCTION add_plan_event() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO knockon.pending_events (org_id, kind, subject_id, detail)
    VALUES (NEW.org_id, 'plan.' || NEW.state, NEW.id, jsonb_strip_nulls(jsonb_build_object(
        'tasks', NEW.task_count, 'exceeded_limits', NEW.exceeded_limits, 'decided_by', NEW.decided_by)));
    RETURN NULL;
END $$;
CREATE TRIGGER inserted_event AFTER INSERT ON plans FOR EACH ROW
    WHEN (NEW.state <> 'proposed') EXECUTE FUNCTION add_plan_event();
CREATE TRIGGER updated_event AFTER UPDATE ON plans FOR EACH ROW
    WHEN (NEW.state <> OLD.state AND NEW.state <> 'proposed') EXECUTE FUNCTION add_plan_event();

CREATE FUNCTION add_deploy_event() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO knockon.pending_events (org_id, kind, subject_id, detail)
    VALUES (NEW.org_id, 'dag.deployed', NEW.dag_version_id, jsonb_build_object('dag', NEW.dag_name));
    RETURN NULL;
END $$;
CREATE TRIGGER inserted_event AFTER INSERT ON dag_current_versions FOR EACH ROW
    EXECUTE FUNCTION add_deploy_event();
CREATE TRIGGER updated_event AFTER UPDATE ON dag_current_versions FOR EACH ROW
    WHEN (NEW.dag_version_id <> OLD.dag_version_id) EXECUTE FUNCTION add_deploy_event();

CREATE FUNCTION add_dead_letter_events() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO knockon.pending_events (org_id, kind, subject_id, detail)
    SELECT org_id, 'dead_letter.recorded', id, jsonb_build_object('consumer', consumer,
        'stream', stream, 'position', position, 'error', left(error, 1000))
    FROM letters;
    RETURN NULL;
END $$;
CREATE TRIGGER events AFTER INSERT ON dead_letters REFERENCING NEW TABLE AS letters
    FOR EACH STATEMENT EXECUTE FUNCTION add_dead_letter_events();

-- As before, and for events, with a record of the last position removed.
CREATE OR REPLACE FUNCTION drop_history_month(history regclass, before timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = knockon, pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    month text;
BEGIN
    IF history <> ALL (ARRAY['task_attempts_history', 'events']::regclass[]) THEN
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
    IF month IS NULL THEN
        RETURN NULL;
    END IF;
    IF history = 'events'::regclass THEN
        EXECUTE format('INSERT INTO expired_events SELECT org_id, max(position) FROM %I GROUP BY org_id
            ON CONFLICT (org_id) DO UPDATE SET last_position = excluded.last_position', month);
    END IF;
    EXECUTE format('DROP TABLE %I', month);
    RETURN month;
END $$;
