-- Every table with data of an org has its id, which the policies of row-level security compare.
-- `knockon migrate` creates the policies together with the roles: see sql/roles.
-- knockon: oldest code 0017
-- knockon: locks knockon.dataset_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.dag_version_datasets ACCESS EXCLUSIVE
-- knockon: locks knockon.column_lineage ACCESS EXCLUSIVE
-- knockon: locks knockon.dataset_cursors ACCESS EXCLUSIVE
-- knockon: locks knockon.org_role_memberships ACCESS EXCLUSIVE
-- knockon: locks knockon.partition_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.single_runs ACCESS EXCLUSIVE
-- knockon: locks knockon.stale_decisions ACCESS EXCLUSIVE
-- knockon: locks knockon.task_dependencies ACCESS EXCLUSIVE
-- knockon: locks knockon.task_inputs ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- There are no foreign keys to orgs: the rows belong to a dataset or task, and end with it.
ALTER TABLE dataset_versions ADD org_id uuid;
UPDATE dataset_versions v SET org_id = d.org_id FROM datasets d WHERE d.id = v.dataset_uuid;
ALTER TABLE dataset_versions ALTER org_id SET NOT NULL;

ALTER TABLE dag_version_datasets ADD org_id uuid;
UPDATE dag_version_datasets p SET org_id = d.org_id FROM datasets d WHERE d.id = p.dataset_uuid;
ALTER TABLE dag_version_datasets ALTER org_id SET NOT NULL;

-- The triggers would collect unchanged lineage.
ALTER TABLE column_lineage ADD org_id uuid, DISABLE TRIGGER updated_from, DISABLE TRIGGER updated_to;
UPDATE column_lineage l SET org_id = d.org_id FROM datasets d WHERE d.id = l.output_dataset_uuid;
ALTER TABLE column_lineage ALTER org_id SET NOT NULL,
    ENABLE ALWAYS TRIGGER updated_from, ENABLE ALWAYS TRIGGER updated_to;

ALTER TABLE dataset_cursors ADD org_id uuid;
UPDATE dataset_cursors c SET org_id = d.org_id FROM datasets d WHERE d.id = c.dataset_uuid;
ALTER TABLE dataset_cursors ALTER org_id SET NOT NULL;

ALTER TABLE org_role_memberships ADD org_id uuid;
UPDATE org_role_memberships m SET org_id = r.org_id FROM org_roles r WHERE r.id = m.role_id;
ALTER TABLE org_role_memberships ALTER org_id SET NOT NULL;

ALTER TABLE partition_versions ADD org_id uuid;
UPDATE partition_versions p SET org_id = d.org_id FROM datasets d WHERE d.id = p.dataset_uuid;
ALTER TABLE partition_versions ALTER org_id SET NOT NULL;

ALTER TABLE single_runs ADD org_id uuid;
UPDATE single_runs r SET org_id = d.org_id FROM datasets d WHERE d.id = r.dataset_uuid;
ALTER TABLE single_runs ALTER org_id SET NOT NULL;

ALTER TABLE stale_decisions ADD org_id uuid;
UPDATE stale_decisions s SET org_id = d.org_id FROM datasets d WHERE d.id = s.dataset_uuid;
ALTER TABLE stale_decisions ALTER org_id SET NOT NULL;

ALTER TABLE task_dependencies ADD org_id uuid;
UPDATE task_dependencies d SET org_id = t.org_id FROM tasks t WHERE t.id = d.task_id;
-- Rows without a task have no effect.
DELETE FROM task_dependencies WHERE org_id IS NULL;
ALTER TABLE task_dependencies ALTER org_id SET NOT NULL;

ALTER TABLE task_inputs ADD org_id uuid;
UPDATE task_inputs i SET org_id = d.org_id FROM datasets d WHERE d.id = i.input_dataset_uuid;
DELETE FROM task_inputs WHERE org_id IS NULL;
ALTER TABLE task_inputs ALTER org_id SET NOT NULL;

-- Views read with the rights of the user, not of their owner, who bypasses the policies.
DO $$
DECLARE
    view regclass;
BEGIN
    FOR view IN SELECT oid FROM pg_class
                WHERE relnamespace = 'knockon'::regnamespace AND relkind = 'v' LOOP
        EXECUTE format('ALTER VIEW %s SET (security_invoker = true)', view);
    END LOOP;
END $$;

-- The org of a transaction; null outside of one, so that the policies show nothing.
CREATE FUNCTION current_org() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('knockon.org_id', true), '')::uuid;

-- The org of a key, the only thing that a session without an org can find out.
CREATE FUNCTION org_of_key(key_prefix text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN (SELECT k.org_id FROM knockon.api_keys k WHERE k.prefix = key_prefix);

-- Create a table for a month of a history. Policies are not inherited: the table has none, so that
-- rows are accessible only through the history, or to roles without restriction.
CREATE FUNCTION create_month(name text, history regclass) RETURNS void
LANGUAGE plpgsql SET search_path = knockon, pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TABLE knockon.%I (LIKE %s INCLUDING ALL)', name, history);
    IF (SELECT relrowsecurity FROM pg_class WHERE oid = history) THEN
        EXECUTE format('ALTER TABLE knockon.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    END IF;
END $$;

-- As before, with protected months.
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
        PERFORM knockon.create_month(name, history);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION knockon.%I FOR VALUES FROM (%L) TO (%L)',
            history, name, knockon.first_id_at(month), knockon.first_id_at(month + interval '1 month'));
    END IF;
END $$;

-- As before, with protected months. An owner subject to the policies would find no rows to keep, and
-- gets an error instead.
CREATE OR REPLACE FUNCTION expire_history(history regclass, before timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = knockon, pg_catalog, pg_temp SET lock_timeout = '2s' SET row_security = off AS $$
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
    PERFORM knockon.create_month(month.name || '_kept', history);
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
ALTER FUNCTION drop_history_month(regclass, timestamptz) SET row_security = off;

-- These run with the rights of their owner and affect all orgs: only engines may call them.
REVOKE EXECUTE ON FUNCTION add_history_partition(regclass, timestamptz),
    expire_history(regclass, timestamptz), drop_history_month(regclass, timestamptz) FROM PUBLIC;
