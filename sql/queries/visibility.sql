-- :name hidden_datasets
-- The datasets hidden from the members of some roles, with whether everything of their DAG is. A
-- dataset that a job writes together with a hidden one is hidden too.
SELECT h.id, h.name, h.dag, h.job, h.location, h.is_dag_hidden
FROM (SELECT o.*, bool_and(o.is_hidden) OVER (PARTITION BY o.dag) AS is_dag_hidden
      FROM (SELECT d.id, d.name, d.producer_dag_name AS dag, d.producer_job_name AS job,
                   d.storage ->> 'table' AS location,
                   bool_or(d.read_roles <> '{}' AND NOT d.read_roles && %(roles)s::text[])
                       OVER (PARTITION BY d.producer_dag_name, d.producer_job_name) AS is_hidden
            FROM knockon.datasets d WHERE d.org_id = %(org_id)s) AS o) AS h
WHERE h.is_hidden

-- :name jobs_of_datasets
-- The jobs of all versions that write some datasets, with the names that their sources refer to.
SELECT j.id, j.dag_name AS dag, j.name, coalesce(j.source ->> 'topic', j.source ->> 'endpoint',
       j.source ->> 'table') AS location
FROM knockon.jobs j WHERE j.org_id = %(org_id)s AND j.output_datasets && %(names)s::text[]

-- :name plans
-- The datasets, jobs and DAGs that some plans concern; jobs by the ids and names in the documents.
SELECT p.id,
       ARRAY(SELECT i.dataset_uuid FROM knockon.all_invalidations i WHERE i.id = ANY(p.invalidation_ids))
           AS datasets,
       ARRAY(SELECT (s.step ->> 'job')::uuid FROM jsonb_array_elements(p.document -> 'steps') AS s(step))
           AS jobs,
       ARRAY(SELECT s.step ->> 'name' FROM jsonb_array_elements(p.document -> 'steps') AS s(step))
           AS job_names,
       p.event ->> 'dataset' AS dataset,
       ARRAY(SELECT f.file ->> 'dag' FROM jsonb_array_elements(p.event -> 'deploy') AS f(file)) AS dags
FROM knockon.all_plans p WHERE p.org_id = %(org_id)s AND p.id = ANY(%(ids)s)
