-- :name record
-- Record the deploy or undeploy of a DAG version.
INSERT INTO knockon.dag_deploys
    (org_id, dag_name, kind, dag_version_id, previous_version_id, deployed_by)
VALUES (%(org_id)s, %(dag)s, %(kind)s, %(dag_version_id)s, %(previous)s, %(by)s)

-- :name deploys
-- The newest deploys and undeploys of an org before a number, of one DAG or (null) of all.
SELECT d.number AS id, d.dag_name AS dag, d.kind, v.number, d.dag_version_id AS version_id, d.previous_version_id,
       d.deployed_at, d.deployed_by,
       d.kind = 'deployed' AND c.dag_version_id IS NOT NULL AND NOT EXISTS (
           SELECT FROM knockon.dag_deploys later
           WHERE later.org_id = d.org_id AND later.dag_name = d.dag_name AND later.number > d.number)
           AS is_current
FROM knockon.dag_deploys d
JOIN knockon.dag_versions v ON v.id = d.dag_version_id
LEFT JOIN knockon.dag_current_versions c
    ON c.org_id = d.org_id AND c.dag_name = d.dag_name AND c.dag_version_id = d.dag_version_id
WHERE d.org_id = %(org_id)s AND d.number < %(before)s
  AND (%(dag)s::text IS NULL OR d.dag_name = %(dag)s)
  AND (%(hidden)s::text[] IS NULL OR d.dag_name <> ALL(%(hidden)s::text[]))
ORDER BY d.number DESC LIMIT %(limit)s

-- :name contents
-- The contents of DAG versions, with the dataset versions of each by name.
SELECT v.id, v.content, (
        SELECT coalesce(jsonb_object_agg(s.name, p.dataset_version), '{}')
        FROM knockon.dag_version_datasets p JOIN knockon.datasets s ON s.id = p.dataset_uuid
        WHERE p.dag_version_id = v.id) AS datasets
FROM knockon.dag_versions v WHERE v.id = ANY(%(ids)s)

-- :name file
-- One version of a DAG, with its text as written.
SELECT id, content, file FROM knockon.dag_versions
WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND number = %(number)s

-- :name newest_number
-- The number of the newest version of a DAG; null if there is none.
SELECT max(number) AS number FROM knockon.dag_versions
WHERE org_id = %(org_id)s AND dag_name = %(dag)s
