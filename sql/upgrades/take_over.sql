-- Copy the rows that were set aside into the current tables. Renamed columns are listed first; any other
-- column that exists in only one of the two layouts is left out, so that a new one has its default.
-- Tables are copied in the order of their creation, so that rows exist before others refer to them.

ALTER TABLE knockon_before.jobs RENAME learns TO accepts_reported_lineage;
ALTER TABLE knockon_before.jobs RENAME holds TO waits_for_inputs;
ALTER TABLE knockon_before.tasks RENAME hit TO must_run;
ALTER TABLE knockon_before.tasks RENAME slot TO block_key;
ALTER TABLE knockon_before.plans RENAME held_by TO exceeded_limits;
ALTER TABLE knockon_before.partition_versions RENAME column_stamps TO column_versions;

ALTER TABLE knockon_before.plans DROP CONSTRAINT plans_state_check, DROP CONSTRAINT plans_check1;
UPDATE knockon_before.plans SET state = 'pending_approval' WHERE state = 'held';
UPDATE knockon_before.data_invalidations
SET outcome = CASE outcome WHEN 'held' THEN 'pending_approval' ELSE 'affects_nothing' END
WHERE outcome IN ('held', 'hits nothing');

DELETE FROM knockon.orgs;

DO $$
DECLARE
    source record;
BEGIN
    FOR source IN
        SELECT c.relname,
            pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
                AS columns
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_attribute a
            ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_catalog.pg_class n
            ON n.relname = c.relname AND n.relnamespace = 'knockon'::pg_catalog.regnamespace
        JOIN pg_catalog.pg_attribute b
            ON b.attrelid = n.oid AND b.attname = a.attname AND b.attgenerated = ''
        WHERE c.relnamespace = 'knockon_before'::pg_catalog.regnamespace AND c.relkind = 'r'
        GROUP BY c.oid, c.relname
        ORDER BY c.oid
    LOOP
        EXECUTE pg_catalog.format(
            'INSERT INTO knockon.%1$I (%2$s) SELECT %2$s FROM knockon_before.%1$I',
            source.relname, source.columns);
    END LOOP;
END $$;

-- What the next run of these changes is for its completion to propagate.
UPDATE knockon.tasks t SET propagated = '{}'
FROM knockon_before.tasks b WHERE b.id = t.id AND b.is_narrow;
UPDATE knockon.partition_versions p SET fingerprint = NULL
FROM knockon_before.partition_versions b
WHERE b.is_doubtful AND (p.dataset_uuid, p.dataset_version, p.partition_key)
    = (b.dataset_uuid, b.dataset_version, b.partition_key);

-- Documents of plans, with the keys of today.
UPDATE knockon.plans SET document = (document - 'causes' - 'stamps')
    || pg_catalog.jsonb_build_object(
        'invalidation_sets', document -> 'causes',
        'changed_partitions', document -> 'stamps',
        'hops', (SELECT coalesce(pg_catalog.jsonb_agg((e.hop - 'causes')
                || pg_catalog.jsonb_build_object('invalidation_set', e.hop -> 'causes')
                ORDER BY e.n), '[]')
            FROM pg_catalog.jsonb_array_elements(document -> 'hops')
                WITH ORDINALITY AS e (hop, n)),
        'steps', (SELECT coalesce(pg_catalog.jsonb_agg(CASE WHEN e.step -> 'direct' IS NULL
                THEN e.step
                ELSE (e.step - 'direct') || pg_catalog.jsonb_build_object(
                    'directly_invalidated', e.step -> 'direct') END ORDER BY e.n), '[]')
            FROM pg_catalog.jsonb_array_elements(document -> 'steps')
                WITH ORDINALITY AS e (step, n)));

-- The last run of a single-run job is the newest behind a partition: ids of
-- tasks rise with time, and no two of one job run at once.
INSERT INTO knockon.single_runs (dataset_uuid, dataset_version, task_id, config_hash)
SELECT DISTINCT ON (p.dataset_uuid, p.dataset_version)
    p.dataset_uuid, p.dataset_version, p.task_id, p.config_hash
FROM knockon.partition_versions p
JOIN knockon.tasks t ON t.id = p.task_id
JOIN knockon.jobs j ON j.id = t.job_id AND j.execution_strategy <> 'PerPartition'
WHERE p.config_hash IS NOT NULL
ORDER BY p.dataset_uuid, p.dataset_version, p.task_id DESC;

SELECT pg_catalog.setval('knockon.lineage_epochs', last_value, is_called)
FROM knockon_before.lineage_epochs;

-- Without CASCADE: where a view or a function of the user depends on one of these tables, the upgrade
-- fails with its name and leaves everything as it was.
DROP TABLE knockon_before.orgs, knockon_before.users, knockon_before.org_roles,
    knockon_before.org_role_memberships, knockon_before.dag_versions,
    knockon_before.dag_current_versions, knockon_before.jobs, knockon_before.datasets,
    knockon_before.dataset_versions, knockon_before.dag_version_datasets,
    knockon_before.column_lineage, knockon_before.plans, knockon_before.tasks,
    knockon_before.task_dependencies, knockon_before.task_inputs,
    knockon_before.partition_versions, knockon_before.dataset_cursors,
    knockon_before.data_invalidations, knockon_before.consumer_positions,
    knockon_before.dead_letters, knockon_before.knockon_migrations;
DROP FUNCTION public.collect_column_lineage();
DROP FUNCTION public.stamp_of(timestamptz, jsonb, text[]);
DROP FUNCTION public.moved_stamps(timestamptz, jsonb, text[], timestamptz);
DROP FUNCTION public.differing_keys(jsonb, jsonb);
DROP SEQUENCE knockon_before.lineage_epochs;
DROP SCHEMA knockon_before;
