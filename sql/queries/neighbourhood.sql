-- :name tasks
-- The unfinished tasks of some jobs by status, counted up to a limit for each job.
SELECT j.id AS job, t.status, count(*) AS tasks
FROM unnest(%(jobs)s::uuid[]) AS j(id), LATERAL (
    (SELECT t.status FROM knockon.tasks t
     WHERE t.org_id = %(org_id)s AND t.job_id = j.id AND t.status IN ('blocked', 'queued') LIMIT %(most)s)
    UNION ALL
    (SELECT t.status FROM knockon.tasks t
     WHERE t.org_id = %(org_id)s AND t.job_id = j.id AND t.status = 'running' LIMIT %(most)s)
    UNION ALL
    (SELECT t.status FROM knockon.tasks t
     WHERE t.org_id = %(org_id)s AND t.job_id = j.id AND t.status = 'failed' LIMIT %(most)s)) AS t
GROUP BY j.id, t.status

-- :name evidence
-- Whether anything of some dataset versions was built, and their open invalidations and partitions
-- left stale by a decision, each counted up to a limit.
SELECT d.id AS dataset,
       EXISTS (SELECT FROM knockon.partition_versions p
               WHERE p.org_id = %(org_id)s AND p.dataset_uuid = d.id AND p.dataset_version = d.version)
           OR EXISTS (SELECT FROM knockon.single_runs r
                      WHERE r.org_id = %(org_id)s AND r.dataset_uuid = d.id AND r.dataset_version = d.version)
           AS is_built,
       (SELECT count(*) FROM (
           SELECT FROM knockon.data_invalidations i
           WHERE i.org_id = %(org_id)s AND i.dataset_uuid = d.id AND i.processed_at IS NULL
           LIMIT %(most)s) AS i) AS open_invalidations,
       (SELECT count(*) FROM (
           SELECT FROM knockon.stale_decisions s
           WHERE s.org_id = %(org_id)s AND s.dataset_uuid = d.id AND s.dataset_version = d.version
           LIMIT %(most)s) AS s) AS left_stale
FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS d(id, version)
