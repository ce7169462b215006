-- Earlier versions kept Knockon's objects in the schema `public`. Move them by name, because other
-- tables in `public` belong to the user, into a schema that exists only during the upgrade.

CREATE SCHEMA knockon_before;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'orgs', 'users', 'org_roles', 'org_role_memberships', 'dag_versions',
        'dag_current_versions', 'jobs', 'datasets', 'dataset_versions', 'dag_version_datasets',
        'column_lineage', 'plans', 'tasks', 'task_dependencies', 'task_inputs',
        'partition_versions', 'dataset_cursors', 'data_invalidations', 'consumer_positions',
        'dead_letters', 'knockon_migrations']
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE IF EXISTS public.%I SET SCHEMA knockon_before', name);
    END LOOP;
END $$;

ALTER SEQUENCE public.lineage_epochs SET SCHEMA knockon_before;
DROP VIEW public.current_datasets;
