-- The history of finished work, in tables partitioned by the months in the ids, so that old history
-- is dropped in whole partitions and the tables of unfinished work stay small.
-- knockon: locks knockon.orgs SHARE ROW EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- The first UUID of version 7 of a millisecond.
CREATE FUNCTION first_id_at(moment timestamptz) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN rpad(lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid;

-- Whether an id ends with some digits, as a range of an index on the reversed text ('g' follows all
-- digits).
CREATE FUNCTION id_ends_with(id uuid, ending text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN reverse(id::text) COLLATE "C" >= reverse(ending)
    AND reverse(id::text) COLLATE "C" < reverse(ending) || 'g';

-- Finished tasks, with the names of their jobs, which outlive the rows of a DAG version, and with
-- their rows of task_dependencies.
CREATE TABLE tasks_history (
    id uuid PRIMARY KEY,
    job_id uuid NOT NULL,
    dag_name text NOT NULL,
    job_name text NOT NULL,
    org_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('succeeded', 'skipped', 'canceled')),
    block_key text NOT NULL,
    partitions text[] NOT NULL,
    must_run boolean NOT NULL,
    row_filters jsonb NOT NULL,
    plan_ids uuid[] NOT NULL,
    plans_dropped_to uuid,
    blockers uuid[] NOT NULL,
    input_versions jsonb NOT NULL,
    outputs jsonb NOT NULL,
    worker_id text,
    attempts int NOT NULL,
    created_at timestamptz NOT NULL,
    queued_at timestamptz NOT NULL,
    started_at timestamptz,
    completed_at timestamptz NOT NULL,
    error_message text,
    outcome text
) PARTITION BY RANGE (id);
CREATE INDEX tasks_history_job ON tasks_history (org_id, job_name, id);
CREATE INDEX tasks_history_org ON tasks_history (org_id, id);
CREATE INDEX tasks_history_partitions ON tasks_history USING gin (partitions);
CREATE INDEX tasks_history_plans ON tasks_history USING gin (plan_ids);
CREATE INDEX tasks_history_plans_dropped ON tasks_history (plans_dropped_to)
    WHERE plans_dropped_to IS NOT NULL;
-- Tasks are found by the last digits of their ids.
CREATE INDEX tasks_history_id_ending ON tasks_history ((reverse(id::text)) COLLATE "C");

-- All tasks, finished or not.
CREATE VIEW all_tasks AS
SELECT t.id, t.job_id, (SELECT j.dag_name FROM jobs j WHERE j.id = t.job_id) AS dag_name,
       (SELECT j.name FROM jobs j WHERE j.id = t.job_id) AS job_name, t.org_id, t.status, t.block_key,
       t.partitions, t.must_run, t.row_filters, t.plan_ids, t.plans_dropped_to,
       ARRAY(SELECT d.depends_on FROM task_dependencies d WHERE d.task_id = t.id) AS blockers,
       t.worker_id, t.attempts, t.created_at, t.started_at, t.completed_at,
       t.next_retry_at, t.error_message, t.outcome, t.waiting_for
FROM tasks t
UNION ALL
SELECT t.id, t.job_id, t.dag_name, t.job_name, t.org_id, t.status, t.block_key,
       t.partitions, t.must_run, t.row_filters, t.plan_ids, t.plans_dropped_to,
       t.blockers, t.worker_id, t.attempts, t.created_at, t.started_at, t.completed_at,
       NULL, t.error_message, t.outcome, NULL
FROM tasks_history t;

-- Processed invalidations, decided plans, and dead letters that were replayed or closed.
-- By the checks, a query of unfinished work reads no partition of the history.
CREATE TABLE data_invalidations_history (
    LIKE data_invalidations, PRIMARY KEY (id), CHECK (processed_at IS NOT NULL)
) PARTITION BY RANGE (id);
CREATE INDEX data_invalidations_history_org ON data_invalidations_history (org_id, id);
CREATE INDEX data_invalidations_history_dataset ON data_invalidations_history (dataset_uuid, id);
CREATE INDEX data_invalidations_history_plan ON data_invalidations_history (plan_id);
CREATE INDEX data_invalidations_history_version ON data_invalidations_history (dataset_version)
    WHERE reason = 'definition_change';
CREATE INDEX data_invalidations_history_id_ending
    ON data_invalidations_history ((reverse(id::text)) COLLATE "C");
CREATE VIEW all_invalidations AS
SELECT * FROM data_invalidations UNION ALL SELECT * FROM data_invalidations_history;

CREATE TABLE plans_history (
    LIKE plans, PRIMARY KEY (id), CHECK (state = 'applied')
) PARTITION BY RANGE (id);
ALTER TABLE plans_history ALTER document SET STORAGE EXTERNAL;
CREATE INDEX plans_history_org ON plans_history (org_id, id);
CREATE INDEX plans_history_id_ending ON plans_history ((reverse(id::text)) COLLATE "C");
CREATE VIEW all_plans AS SELECT * FROM plans UNION ALL SELECT * FROM plans_history;

CREATE TABLE dead_letters_history (
    LIKE dead_letters, PRIMARY KEY (id), CHECK (replayed_at IS NOT NULL OR closed_at IS NOT NULL)
) PARTITION BY RANGE (id);
CREATE INDEX dead_letters_history_org ON dead_letters_history (org_id, id);
CREATE INDEX dead_letters_history_id_ending ON dead_letters_history ((reverse(id::text)) COLLATE "C");
CREATE VIEW all_dead_letters AS
SELECT * FROM dead_letters UNION ALL SELECT * FROM dead_letters_history;

-- The idempotency keys of requests, which are kept longer than the invalidations, or shorter.
CREATE TABLE idempotency_keys (
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    key text NOT NULL,
    -- A digest of the request.
    request_hash text,
    invalidation_ids uuid[] NOT NULL,
    used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, key)
);
CREATE INDEX idempotency_keys_used ON idempotency_keys (used_at);
INSERT INTO idempotency_keys (org_id, key, request_hash, invalidation_ids, used_at)
SELECT org_id, left(idempotency_key, -length(substring(idempotency_key FROM '#[0-9]+$'))),
       min(request_hash), array_agg(id ORDER BY id), min(created_at)
FROM data_invalidations WHERE idempotency_key ~ '#[0-9]+$' GROUP BY 1, 2;

-- Create the partition for the month of a time. The engine's role may not create tables, so the
-- function runs with the rights of its owner. A partition is attached, because creating it in place
-- would lock out readers.
CREATE FUNCTION add_history_partition(history regclass, moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = knockon, pg_catalog, pg_temp AS $$
DECLARE
    month timestamptz := date_trunc('month', moment, 'UTC');
    name text;
BEGIN
    SELECT format('%s_%s', c.relname, to_char(month AT TIME ZONE 'UTC', 'YYYY_MM')) INTO STRICT name
    FROM pg_class c
    WHERE c.oid = history AND c.relnamespace = 'knockon'::regnamespace AND c.relkind = 'p';
    -- The partition is not removed before the caller has written to it.
    EXECUTE format('LOCK TABLE ONLY %s IN ROW EXCLUSIVE MODE', history);
    IF to_regclass(format('knockon.%I', name)) IS NOT NULL THEN
        RETURN;
    END IF;
    -- One process creates the partition; the others wait.
    PERFORM pg_advisory_xact_lock(hashtextextended('knockon.history ' || name, 0));
    IF to_regclass(format('knockon.%I', name)) IS NULL THEN
        EXECUTE format('CREATE TABLE knockon.%I (LIKE %s INCLUDING ALL)', name, history);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION knockon.%I FOR VALUES FROM (%L) TO (%L)',
            history, name, knockon.first_id_at(month), knockon.first_id_at(month + interval '1 month'));
    END IF;
END $$;

-- Remove the oldest month of a history table that ended before a time, and return its name; null if
-- there is none. Rows that explain an existing partition are kept: its task, the plans of the task, and
-- their invalidations; so tasks are expired before plans, and plans before invalidations. Kept rows
-- are examined again a month later. Readers are locked out only after the rows are copied, writers
-- before.
CREATE FUNCTION expire_history(history regclass, before timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = knockon, pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    stamp text := 'examined in ' || to_char(before AT TIME ZONE 'UTC', 'YYYY-MM');
    kept text;
    month record;
    is_empty boolean;
BEGIN
    SELECT CASE c.relname
        WHEN 'tasks_history' THEN
            'SELECT task_id FROM partition_versions UNION ALL SELECT task_id FROM single_runs'
        WHEN 'plans_history' THEN 'SELECT unnest(plan_ids) FROM all_tasks'
        WHEN 'data_invalidations_history' THEN 'SELECT unnest(invalidation_ids) FROM all_plans'
        WHEN 'dead_letters_history' THEN 'SELECT id FROM dead_letters WHERE false' END
    INTO STRICT kept
    FROM pg_class c
    WHERE c.oid = history AND c.relnamespace = 'knockon'::regnamespace AND c.relkind = 'p';
    IF NOT pg_try_advisory_xact_lock(hashtextextended('knockon.history ' || history::text, 0)) THEN
        RETURN NULL;
    END IF;
    SELECT c.relname AS name, bounds.lower, bounds.upper INTO month
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
        LATERAL (SELECT b[1]::uuid AS lower, b[2]::uuid AS upper
                 FROM regexp_match(pg_get_expr(c.relpartbound, c.oid), '''(.*)''.*''(.*)''') AS b) AS bounds
    WHERE i.inhparent = history AND bounds.upper <= first_id_at(before)
      AND obj_description(c.oid) IS DISTINCT FROM stamp
    ORDER BY bounds.lower LIMIT 1;
    IF month IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE MODE', history);
    EXECUTE format('CREATE TABLE %I (LIKE %s INCLUDING ALL)', month.name || '_kept', history);
    EXECUTE format('INSERT INTO %I SELECT * FROM %I WHERE id IN (%s)', month.name || '_kept', month.name, kept);
    IF history = 'tasks_history'::regclass THEN
        EXECUTE format('DELETE FROM task_inputs i USING %I t WHERE i.task_id = t.id
            AND NOT EXISTS (SELECT FROM %I k WHERE k.id = t.id)', month.name, month.name || '_kept');
    END IF;
    EXECUTE format('DROP TABLE %I', month.name);
    EXECUTE format('SELECT NOT EXISTS (SELECT FROM %I)', month.name || '_kept') INTO is_empty;
    IF is_empty THEN
        EXECUTE format('DROP TABLE %I', month.name || '_kept');
    ELSE
        EXECUTE format('ALTER TABLE %I RENAME TO %I', month.name || '_kept', month.name);
        EXECUTE format('COMMENT ON TABLE %I IS %L', month.name, stamp);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            history, month.name, month.lower, month.upper);
    END IF;
    RETURN month.name;
END $$;
