-- :name effects
-- The number of a DAG version, and of the unfinished tasks and open invalidations that its undeploy ends.
SELECT v.number,
    (SELECT count(*) FROM knockon.jobs j JOIN knockon.tasks t ON t.job_id = j.id
     WHERE j.dag_version_id = v.id AND t.status IN ('blocked', 'queued', 'running', 'failed')) AS tasks,
    (SELECT count(*) FROM knockon.dag_version_datasets p
     JOIN knockon.data_invalidations i
         ON i.dataset_uuid = p.dataset_uuid AND i.dataset_version = p.dataset_version
     WHERE p.dag_version_id = v.id AND i.processed_at IS NULL AND i.plan_id IS NULL) AS invalidations
FROM knockon.dag_versions v WHERE v.id = %(dag_version_id)s

-- :name remove_current
-- Remove a DAG from the current versions.
DELETE FROM knockon.dag_current_versions WHERE org_id = %(org_id)s AND dag_name = %(dag)s

-- :name restore_current
-- Make an undeployed DAG version current again.
INSERT INTO knockon.dag_current_versions (org_id, dag_name, dag_version_id, updated_at)
VALUES (%(org_id)s, %(dag)s, %(dag_version_id)s, clock_timestamp())

-- :name close_invalidations
-- Close the open invalidations of a DAG version that is no longer current, also those set aside.
UPDATE knockon.data_invalidations i
SET processed_at = clock_timestamp(), outcome = 'not_current', planning_error = NULL, set_aside_at = NULL
FROM knockon.dag_version_datasets p
WHERE p.dag_version_id = %(dag_version_id)s
  AND i.dataset_uuid = p.dataset_uuid AND i.dataset_version = p.dataset_version
  AND i.processed_at IS NULL AND i.plan_id IS NULL

-- :name reopen_invalidations
-- Have the invalidations planned that were closed while a DAG version was not current.
UPDATE knockon.data_invalidations i SET processed_at = NULL, outcome = NULL, plan_id = NULL
FROM knockon.dag_version_datasets p
WHERE p.dag_version_id = %(dag_version_id)s
  AND i.dataset_uuid = p.dataset_uuid AND i.dataset_version = p.dataset_version
  AND i.outcome = 'not_current'
RETURNING i.id, i.reason

-- :name undeployed
-- The version of an undeployed DAG. It is kept if all of its dataset versions are, as the newest of
-- their datasets.
SELECT v.id, v.content,
    NOT EXISTS (
        SELECT FROM knockon.jobs j CROSS JOIN LATERAL unnest(j.output_datasets) AS o(name)
        WHERE j.dag_version_id = v.id AND NOT EXISTS (
            SELECT FROM knockon.datasets s JOIN knockon.dag_version_datasets p
                ON p.dag_version_id = v.id AND p.dataset_uuid = s.id
            WHERE s.org_id = %(org_id)s AND s.name = o.name))
    AND NOT EXISTS (
        SELECT FROM knockon.dag_version_datasets p
        JOIN knockon.dataset_versions mine ON mine.id = p.dataset_version
        JOIN knockon.dataset_versions later ON later.dataset_uuid = p.dataset_uuid
            AND (later.created_at, later.id) > (mine.created_at, mine.id)
        WHERE p.dag_version_id = v.id) AS is_kept
FROM (SELECT dag_version_id, kind FROM knockon.dag_deploys
      WHERE org_id = %(org_id)s AND dag_name = %(dag)s ORDER BY number DESC LIMIT 1) AS d
JOIN knockon.dag_versions v ON v.id = d.dag_version_id
WHERE d.kind = 'undeployed'
  AND NOT EXISTS (SELECT FROM knockon.dag_current_versions c
                  WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s)

-- :name forget_pins
-- Remove the produced dataset versions of a DAG version, so that a later deploy builds new ones.
DELETE FROM knockon.dag_version_datasets p
USING knockon.datasets d, knockon.jobs j
WHERE p.dag_version_id = %(dag_version_id)s AND d.id = p.dataset_uuid
  AND j.dag_version_id = p.dag_version_id AND d.name = ANY (j.output_datasets)
  AND j.activation <> 'source'

-- :name propagate_fully
-- Let unfinished tasks of these jobs propagate all of their changes on completion, because the tasks
-- of readers that waited for them were canceled.
UPDATE knockon.tasks SET propagated = '{}'
WHERE job_id = ANY(%(jobs)s) AND status IN ('blocked', 'queued', 'running', 'failed')
