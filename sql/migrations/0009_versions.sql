-- The history of deploys, with numbered DAG versions and the text of their files; undeploys; indexes for
-- the removal of old versions.
-- knockon: locks knockon.dag_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.dag_versions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dag_versions SHARE
-- knockon: locks knockon.dag_current_versions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.events ACCESS EXCLUSIVE
-- knockon: locks knockon.orgs SHARE ROW EXCLUSIVE
-- knockon: locks knockon.partition_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.partition_versions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.single_runs ACCESS EXCLUSIVE
-- knockon: locks knockon.single_runs SHARE ROW EXCLUSIVE
-- knockon: locks knockon.stale_decisions ACCESS EXCLUSIVE
-- knockon: locks knockon.stale_decisions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dataset_cursors ACCESS EXCLUSIVE
-- knockon: locks knockon.dataset_cursors SHARE ROW EXCLUSIVE
-- knockon: locks knockon.data_invalidations ACCESS EXCLUSIVE
-- knockon: locks knockon.data_invalidations SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dataset_versions ACCESS EXCLUSIVE
-- knockon: locks knockon.dataset_versions SHARE ROW EXCLUSIVE
-- knockon: locks knockon.dataset_versions SHARE
-- knockon: locks knockon.dag_version_datasets SHARE
-- knockon: locks knockon.dataset_cursors SHARE
-- knockon: locks knockon.tasks SHARE

SET LOCAL search_path = knockon, pg_temp;

ALTER TABLE dag_versions
    -- From 1 for each DAG, in the order of the first deploys.
    ADD COLUMN number int,
    -- The file as written; null for content read from several files, or written by older code.
    ADD COLUMN file text;
UPDATE dag_versions v SET number = n.number
FROM (SELECT id, row_number() OVER (PARTITION BY org_id, dag_name ORDER BY created_at, id) AS number
      FROM dag_versions) AS n
WHERE n.id = v.id;
ALTER TABLE dag_versions ALTER COLUMN number SET NOT NULL, ADD UNIQUE (org_id, dag_name, number);

-- A trigger, because older code inserts versions without numbers. Deploys of an org take turns.
CREATE FUNCTION number_dag_version() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.number := 1 + coalesce((SELECT max(v.number) FROM knockon.dag_versions v
                                WHERE v.org_id = NEW.org_id AND v.dag_name = NEW.dag_name), 0);
    RETURN NEW;
END $$;
CREATE TRIGGER numbered BEFORE INSERT ON dag_versions FOR EACH ROW EXECUTE FUNCTION number_dag_version();

-- Every deploy that made a version the current one, and every undeploy.
CREATE TABLE dag_deploys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    dag_name text NOT NULL,
    kind text NOT NULL DEFAULT 'deployed' CHECK (kind IN ('deployed', 'undeployed')),
    dag_version_id uuid NOT NULL REFERENCES dag_versions ON DELETE CASCADE,
    -- The version current until then, even if it is removed later; null if there was none.
    previous_version_id uuid,
    deployed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- null: unknown.
    deployed_by text
);
CREATE INDEX dag_deploys_org ON dag_deploys (org_id, id);
CREATE INDEX dag_deploys_dag ON dag_deploys (org_id, dag_name, id);
CREATE INDEX dag_deploys_version ON dag_deploys (dag_version_id);
-- Of earlier deploys, the first of each version is known, and a later one of the current version.
INSERT INTO dag_deploys (org_id, dag_name, dag_version_id, previous_version_id, deployed_at)
SELECT org_id, dag_name, id, lag(id) OVER (PARTITION BY org_id, dag_name ORDER BY at, number), at
FROM (SELECT org_id, dag_name, id, number, created_at AS at FROM dag_versions
      UNION ALL
      SELECT v.org_id, v.dag_name, v.id, v.number, c.updated_at
      FROM dag_current_versions c JOIN dag_versions v ON v.id = c.dag_version_id
      WHERE EXISTS (SELECT FROM dag_versions later WHERE later.org_id = v.org_id
                    AND later.dag_name = v.dag_name AND later.number > v.number)) AS d
ORDER BY at, number;

-- Existing events are known to satisfy the wider check. A month has the check of its own from its
-- creation, besides the one inherited.
ALTER TABLE events DROP CONSTRAINT events_kind_check;
DO $$
DECLARE
    month regclass;
BEGIN
    FOR month IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'knockon.events'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS events_kind_check', month);
    END LOOP;
END $$;
ALTER TABLE events ADD CONSTRAINT events_kind_check CHECK (kind IN (
    'invalidation.recorded', 'plan.pending_approval', 'plan.applied', 'plan.rejected',
    'task.started', 'task.succeeded', 'task.skipped', 'task.attempt_failed', 'task.failed',
    'task.retried', 'task.canceled', 'dag.deployed', 'dag.undeployed', 'dead_letter.recorded'))
    NOT VALID;

CREATE FUNCTION add_undeploy_event() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO knockon.pending_events (org_id, kind, subject_id, detail)
    VALUES (OLD.org_id, 'dag.undeployed', OLD.dag_version_id, jsonb_build_object('dag', OLD.dag_name));
    RETURN NULL;
END $$;
CREATE TRIGGER deleted_event AFTER DELETE ON dag_current_versions FOR EACH ROW
    EXECUTE FUNCTION add_undeploy_event();

-- Rows that refer to a dataset version are found by the dataset as well, because their indexes begin
-- with it: the removal of a version reads no table as a whole. Existing rows satisfy the constraints.
ALTER TABLE dataset_versions ADD UNIQUE (dataset_uuid, id);
ALTER TABLE partition_versions DROP CONSTRAINT partition_versions_dataset_version_fkey;
ALTER TABLE partition_versions ADD CONSTRAINT partition_versions_dataset_version_fkey
    FOREIGN KEY (dataset_uuid, dataset_version) REFERENCES dataset_versions (dataset_uuid, id)
    ON DELETE CASCADE NOT VALID;
ALTER TABLE single_runs DROP CONSTRAINT single_runs_dataset_version_fkey;
ALTER TABLE single_runs ADD CONSTRAINT single_runs_dataset_version_fkey
    FOREIGN KEY (dataset_uuid, dataset_version) REFERENCES dataset_versions (dataset_uuid, id)
    ON DELETE CASCADE NOT VALID;
ALTER TABLE stale_decisions DROP CONSTRAINT stale_decisions_dataset_version_fkey;
ALTER TABLE stale_decisions ADD CONSTRAINT stale_decisions_dataset_version_fkey
    FOREIGN KEY (dataset_uuid, dataset_version) REFERENCES dataset_versions (dataset_uuid, id)
    ON DELETE CASCADE NOT VALID;
ALTER TABLE dataset_cursors DROP CONSTRAINT dataset_cursors_dataset_version_fkey;
ALTER TABLE dataset_cursors ADD CONSTRAINT dataset_cursors_dataset_version_fkey
    FOREIGN KEY (dataset_uuid, dataset_version) REFERENCES dataset_versions (dataset_uuid, id)
    ON DELETE CASCADE NOT VALID;
ALTER TABLE data_invalidations DROP CONSTRAINT data_invalidations_dataset_version_fkey;
ALTER TABLE data_invalidations ADD CONSTRAINT data_invalidations_dataset_version_fkey
    FOREIGN KEY (dataset_uuid, dataset_version) REFERENCES dataset_versions (dataset_uuid, id)
    ON DELETE CASCADE NOT VALID;
CREATE INDEX dag_version_datasets_version ON dag_version_datasets (dataset_version);
CREATE INDEX dataset_cursors_job ON dataset_cursors (job_id);
CREATE INDEX tasks_job ON tasks (job_id);
