-- :name tasks
-- Tasks of an org with ids in a range or with this ending.
(SELECT id, job_name AS name, dag_name AS dag FROM knockon.all_tasks
 WHERE org_id = %(org_id)s AND id BETWEEN %(first)s AND %(last)s
   AND (%(hidden)s::text[] IS NULL OR dag_name || '.' || job_name <> ALL(%(hidden)s::text[]))
 ORDER BY id LIMIT %(limit)s)
UNION
(SELECT id, job_name, dag_name FROM knockon.all_tasks
 WHERE org_id = %(org_id)s AND knockon.id_ends_with(id, %(ending)s)
   AND (%(hidden)s::text[] IS NULL OR dag_name || '.' || job_name <> ALL(%(hidden)s::text[]))
 LIMIT %(limit)s)

-- :name invalidations
-- Invalidations of an org with ids in a range or with this ending.
(SELECT i.id, d.name, d.producer_dag_name AS dag
 FROM knockon.all_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
 WHERE i.org_id = %(org_id)s AND i.id BETWEEN %(first)s AND %(last)s
   AND (%(hidden)s::uuid[] IS NULL OR i.dataset_uuid <> ALL(%(hidden)s::uuid[]))
 ORDER BY i.id LIMIT %(limit)s)
UNION
(SELECT i.id, d.name, d.producer_dag_name
 FROM knockon.all_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
 WHERE i.org_id = %(org_id)s AND knockon.id_ends_with(i.id, %(ending)s)
   AND (%(hidden)s::uuid[] IS NULL OR i.dataset_uuid <> ALL(%(hidden)s::uuid[]))
 LIMIT %(limit)s)

-- :name plans
-- Plans of an org with ids in a range or with this ending.
(SELECT id, NULL::text AS name, NULL::text AS dag FROM knockon.all_plans
 WHERE org_id = %(org_id)s AND id BETWEEN %(first)s AND %(last)s ORDER BY id LIMIT %(limit)s)
UNION
(SELECT id, NULL, NULL FROM knockon.all_plans
 WHERE org_id = %(org_id)s AND knockon.id_ends_with(id, %(ending)s) LIMIT %(limit)s)
