-- Retention of the history: periods from before 1970, several engines, and deploys.

SET LOCAL search_path = knockon, pg_temp;

-- The first UUID of version 7 of a millisecond; of times before 1970, the first of all.
CREATE OR REPLACE FUNCTION first_id_at(moment timestamptz) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN rpad(lpad(to_hex(greatest(floor(extract(epoch FROM moment) * 1000)::bigint, 0)), 12, '0'),
    32, '0')::uuid;

-- Create the partition for the month of a time. The engine's role may not create tables, so the
-- function runs with the rights of its owner. A partition is attached, because creating it in place
-- would lock out readers.
CREATE OR REPLACE FUNCTION add_history_partition(history regclass, moment timestamptz) RETURNS void
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
    -- One process adds partitions to a history; the others wait, and see its partitions then. With
    -- a lock for each month, a process that adds several months and one that adds the last of them
    -- would wait for each other, because ATTACH PARTITION takes this lock as well.
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', history);
    IF to_regclass(format('knockon.%I', name)) IS NULL THEN
        EXECUTE format('CREATE TABLE knockon.%I (LIKE %s INCLUDING ALL)', name, history);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION knockon.%I FOR VALUES FROM (%L) TO (%L)',
            history, name, knockon.first_id_at(month), knockon.first_id_at(month + interval '1 month'));
    END IF;
END $$;

-- Remove the oldest month of a history table that ended before a time, and return its name; null if
-- there is none. Rows that explain an existing partition of a current dataset version are kept: its
-- task, the plans of the task, and their invalidations; so tasks are expired before plans, and plans
-- before invalidations. Earlier dataset versions are not used again. Kept rows are examined again a
-- month later, by one of several processes with different times. Readers are locked out only after
-- the rows are copied, writers before.
CREATE OR REPLACE FUNCTION expire_history(history regclass, before timestamptz) RETURNS text
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
            'SELECT r.task_id
             FROM (SELECT dataset_uuid, dataset_version, task_id FROM partition_versions
                   UNION ALL SELECT dataset_uuid, dataset_version, task_id FROM single_runs) AS r
             JOIN current_datasets USING (dataset_uuid, dataset_version)'
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
      AND coalesce(obj_description(c.oid), '') COLLATE "C" < stamp
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
