-- Rows refer to rows of their own org only, events and deploys are numbered within their org, and the
-- leases of workers end with the key of their claim.
-- knockon: oldest code 0021
-- knockon: locks knockon.api_keys ACCESS EXCLUSIVE
-- knockon: locks knockon.api_keys SHARE ROW EXCLUSIVE
-- knockon: locks knockon.column_lineage ACCESS EXCLUSIVE
-- knockon: locks knockon.column_lineage SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dag_current_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.dag_current_versions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dag_deploys ACCESS EXCLUSIVE
-- knockon: locks knockon.dag_deploys SHARE
-- knockon: locks knockon.dag_deploys SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dag_version_datasets ACCESS EXCLUSIVE
-- knockon: locks knockon.dag_version_datasets SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dag_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.dag_versions SHARE
-- knockon: locks knockon.dag_versions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.data_invalidations ACCESS EXCLUSIVE
-- knockon: locks knockon.data_invalidations SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dataset_cursors ACCESS EXCLUSIVE
-- knockon: locks knockon.dataset_cursors SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dataset_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.dataset_versions SHARE
-- knockon: locks knockon.dataset_versions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.datasets ACCESS EXCLUSIVE
-- knockon: locks knockon.datasets SHARE
-- knockon: locks knockon.datasets SHARE ROW EXCLUSIVE
-- knockon: locks knockon.jobs ACCESS EXCLUSIVE
-- knockon: locks knockon.jobs SHARE
-- knockon: locks knockon.jobs SHARE ROW EXCLUSIVE
-- knockon: locks knockon.org_role_memberships ACCESS EXCLUSIVE
-- knockon: locks knockon.org_role_memberships SHARE ROW EXCLUSIVE
-- knockon: locks knockon.org_roles ACCESS EXCLUSIVE
-- knockon: locks knockon.org_roles SHARE
-- knockon: locks knockon.org_roles SHARE ROW EXCLUSIVE
-- knockon: locks knockon.orgs SHARE ROW EXCLUSIVE
-- knockon: locks knockon.partition_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.partition_versions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.single_runs ACCESS EXCLUSIVE
-- knockon: locks knockon.single_runs SHARE ROW EXCLUSIVE
-- knockon: locks knockon.stale_decisions ACCESS EXCLUSIVE
-- knockon: locks knockon.stale_decisions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.tasks ACCESS EXCLUSIVE
-- knockon: locks knockon.tasks SHARE ROW EXCLUSIVE
-- knockon: locks knockon.users ACCESS EXCLUSIVE
-- knockon: locks knockon.users SHARE ROW EXCLUSIVE
-- knockon: locks knockon.worker_leases ACCESS EXCLUSIVE
-- knockon: locks knockon.worker_leases SHARE ROW EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- Foreign keys include the org: otherwise a row could refer to a row of another org, and its id would be
-- found out by the error for a missing one. The checks bypass row-level security. Existing rows satisfy
-- the constraints.
ALTER TABLE org_roles ADD UNIQUE (org_id, id);
ALTER TABLE datasets ADD UNIQUE (org_id, id);
ALTER TABLE jobs ADD UNIQUE (org_id, id);
ALTER TABLE dag_versions ADD UNIQUE (org_id, id);
ALTER TABLE dataset_versions ADD UNIQUE (org_id, dataset_uuid, id);
ALTER TABLE api_keys DROP CONSTRAINT api_keys_user_id_fkey, ADD CONSTRAINT api_keys_user_id_fkey
    FOREIGN KEY (org_id, user_id) REFERENCES users (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE column_lineage DROP CONSTRAINT column_lineage_output_dataset_uuid_fkey, ADD CONSTRAINT column_lineage_output_dataset_uuid_fkey
    FOREIGN KEY (org_id, output_dataset_uuid) REFERENCES datasets (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE column_lineage DROP CONSTRAINT column_lineage_input_dataset_uuid_fkey, ADD CONSTRAINT column_lineage_input_dataset_uuid_fkey
    FOREIGN KEY (org_id, input_dataset_uuid) REFERENCES datasets (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE column_lineage DROP CONSTRAINT column_lineage_job_id_fkey, ADD CONSTRAINT column_lineage_job_id_fkey
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dag_current_versions DROP CONSTRAINT dag_current_versions_dag_version_id_fkey, ADD CONSTRAINT dag_current_versions_dag_version_id_fkey
    FOREIGN KEY (org_id, dag_version_id) REFERENCES dag_versions (org_id, id) NOT VALID;
ALTER TABLE dag_deploys DROP CONSTRAINT dag_deploys_dag_version_id_fkey, ADD CONSTRAINT dag_deploys_dag_version_id_fkey
    FOREIGN KEY (org_id, dag_version_id) REFERENCES dag_versions (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dag_version_datasets DROP CONSTRAINT dag_version_datasets_dag_version_id_fkey, ADD CONSTRAINT dag_version_datasets_dag_version_id_fkey
    FOREIGN KEY (org_id, dag_version_id) REFERENCES dag_versions (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dag_version_datasets DROP CONSTRAINT dag_version_datasets_dataset_uuid_fkey, ADD CONSTRAINT dag_version_datasets_dataset_uuid_fkey
    FOREIGN KEY (org_id, dataset_uuid) REFERENCES datasets (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dag_version_datasets DROP CONSTRAINT dag_version_datasets_dataset_version_fkey, ADD CONSTRAINT dag_version_datasets_dataset_version_fkey
    FOREIGN KEY (org_id, dataset_uuid, dataset_version) REFERENCES dataset_versions (org_id, dataset_uuid, id) NOT VALID;
ALTER TABLE data_invalidations DROP CONSTRAINT data_invalidations_dataset_uuid_fkey, ADD CONSTRAINT data_invalidations_dataset_uuid_fkey
    FOREIGN KEY (org_id, dataset_uuid) REFERENCES datasets (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE data_invalidations DROP CONSTRAINT data_invalidations_dataset_version_fkey, ADD CONSTRAINT data_invalidations_dataset_version_fkey
    FOREIGN KEY (org_id, dataset_uuid, dataset_version) REFERENCES dataset_versions (org_id, dataset_uuid, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dataset_cursors DROP CONSTRAINT dataset_cursors_dataset_uuid_fkey, ADD CONSTRAINT dataset_cursors_dataset_uuid_fkey
    FOREIGN KEY (org_id, dataset_uuid) REFERENCES datasets (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dataset_cursors DROP CONSTRAINT dataset_cursors_dataset_version_fkey, ADD CONSTRAINT dataset_cursors_dataset_version_fkey
    FOREIGN KEY (org_id, dataset_uuid, dataset_version) REFERENCES dataset_versions (org_id, dataset_uuid, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dataset_cursors DROP CONSTRAINT dataset_cursors_job_id_fkey, ADD CONSTRAINT dataset_cursors_job_id_fkey
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dataset_versions DROP CONSTRAINT dataset_versions_dataset_uuid_fkey, ADD CONSTRAINT dataset_versions_dataset_uuid_fkey
    FOREIGN KEY (org_id, dataset_uuid) REFERENCES datasets (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE jobs DROP CONSTRAINT jobs_dag_version_id_fkey, ADD CONSTRAINT jobs_dag_version_id_fkey
    FOREIGN KEY (org_id, dag_version_id) REFERENCES dag_versions (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE org_role_memberships DROP CONSTRAINT org_role_memberships_role_id_fkey, ADD CONSTRAINT org_role_memberships_role_id_fkey
    FOREIGN KEY (org_id, role_id) REFERENCES org_roles (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE org_role_memberships DROP CONSTRAINT org_role_memberships_user_id_fkey, ADD CONSTRAINT org_role_memberships_user_id_fkey
    FOREIGN KEY (org_id, user_id) REFERENCES users (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE partition_versions DROP CONSTRAINT partition_versions_dataset_version_fkey, ADD CONSTRAINT partition_versions_dataset_version_fkey
    FOREIGN KEY (org_id, dataset_uuid, dataset_version) REFERENCES dataset_versions (org_id, dataset_uuid, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE single_runs DROP CONSTRAINT single_runs_dataset_version_fkey, ADD CONSTRAINT single_runs_dataset_version_fkey
    FOREIGN KEY (org_id, dataset_uuid, dataset_version) REFERENCES dataset_versions (org_id, dataset_uuid, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE stale_decisions DROP CONSTRAINT stale_decisions_dataset_version_fkey, ADD CONSTRAINT stale_decisions_dataset_version_fkey
    FOREIGN KEY (org_id, dataset_uuid, dataset_version) REFERENCES dataset_versions (org_id, dataset_uuid, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE tasks DROP CONSTRAINT tasks_job_id_fkey, ADD CONSTRAINT tasks_job_id_fkey
    FOREIGN KEY (org_id, job_id) REFERENCES jobs (org_id, id) ON DELETE CASCADE NOT VALID;
ALTER TABLE dataset_versions DROP CONSTRAINT dataset_versions_dataset_uuid_id_key;

-- The last position of each org: positions common to all orgs would show the activity of others. The
-- positions of an org continue after those it has.
CREATE TABLE event_counters (
    org_id uuid PRIMARY KEY,
    last_position bigint NOT NULL
);
INSERT INTO event_counters (org_id, last_position)
SELECT org_id, max(position) FROM (
    SELECT org_id, position FROM events UNION ALL SELECT org_id, last_position FROM expired_events) AS e
GROUP BY org_id;
DROP SEQUENCE event_positions;

-- The deploys of an org are numbered for the same reason, in their order, under the lock of plans.
ALTER TABLE dag_deploys ADD number bigint;
UPDATE dag_deploys d SET number = n.number
FROM (SELECT id, row_number() OVER (PARTITION BY org_id ORDER BY id) AS number FROM dag_deploys) AS n
WHERE n.id = d.id;
ALTER TABLE dag_deploys ALTER number SET NOT NULL, ADD UNIQUE (org_id, number);
DROP INDEX dag_deploys_org;
DROP INDEX dag_deploys_dag;
CREATE INDEX dag_deploys_dag ON dag_deploys (org_id, dag_name, number);

CREATE FUNCTION number_deploy() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.number := 1 + coalesce((SELECT max(d.number) FROM knockon.dag_deploys d
                                WHERE d.org_id = NEW.org_id), 0);
    RETURN NEW;
END $$;
CREATE TRIGGER numbered BEFORE INSERT ON dag_deploys FOR EACH ROW EXECUTE FUNCTION number_deploy();

-- The key and the user of the claim, null for those of a claim without any. Rows of removed orgs remained.
DELETE FROM worker_leases l WHERE NOT EXISTS (SELECT FROM orgs o WHERE o.id = l.org_id);
ALTER TABLE worker_leases ADD key_id uuid, ADD user_id uuid,
    ADD FOREIGN KEY (org_id) REFERENCES orgs ON DELETE CASCADE;

-- Leases of current attempts, whose user may still write and whose key is valid.
CREATE VIEW held_leases WITH (security_invoker = true) AS
SELECT l.org_id, l.task_id, l.token, l.terms
FROM worker_leases l JOIN tasks t ON t.id = l.task_id AND t.lease_token = l.token
WHERE (l.user_id IS NULL OR EXISTS (
        SELECT FROM users u WHERE u.id = l.user_id AND u.org_id = l.org_id AND u.role <> 'reader'
          AND u.suspended_at IS NULL))
  AND (l.key_id IS NULL OR EXISTS (
        SELECT FROM api_keys k WHERE k.id = l.key_id AND k.org_id = l.org_id AND k.revoked_at IS NULL
          AND coalesce(k.expires_at > clock_timestamp(), true)));

-- Settings that only operators change, of whom row-level security restricts none.
CREATE FUNCTION protect_settings() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF row_security_active('knockon.orgs') AND NOT EXISTS (
        SELECT FROM pg_policy p, unnest(p.polroles) AS r(role)
        WHERE p.polname = 'engine' AND p.polrelid = 'knockon.orgs'::regclass
          AND pg_has_role(current_user, r.role, 'USAGE')) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only operators change this setting of an org';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER protected BEFORE UPDATE OF settings ON orgs FOR EACH ROW
    WHEN ((OLD.settings - '{blast_radius,four_eyes,admission}'::text[])
          IS DISTINCT FROM (NEW.settings - '{blast_radius,four_eyes,admission}'::text[]))
    EXECUTE FUNCTION protect_settings();
