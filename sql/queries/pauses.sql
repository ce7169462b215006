-- :name insert
-- Pause a job, a dataset or the org; the first pause stays as it is, with its person, time and reason.
-- An inserted row has no xmax.
INSERT INTO knockon.pauses AS p (org_id, kind, name, paused_by, reason)
VALUES (%(org_id)s, %(kind)s, %(name)s, %(by)s, %(reason)s)
ON CONFLICT (org_id, kind, name)
DO UPDATE SET paused_at = p.paused_at
RETURNING p.kind, p.name, p.paused_by, p.paused_at, p.reason, p.xmax = 0 AS is_new

-- :name delete
-- Resume a job, a dataset or the org.
DELETE FROM knockon.pauses
WHERE org_id = %(org_id)s AND kind = %(kind)s AND name = %(name)s
RETURNING kind, name, paused_by, paused_at, reason

-- :name list
-- Everything that is paused.
SELECT kind, name, paused_by, paused_at, reason FROM knockon.pauses
WHERE org_id = %(org_id)s ORDER BY kind, name

-- :name held_back
-- The numbers of unplanned invalidations and of queued tasks that pauses hold back.
SELECT
    (SELECT count(*) FROM knockon.data_invalidations i
     WHERE i.org_id = %(org_id)s AND i.processed_at IS NULL AND i.plan_id IS NULL
       AND i.planning_error IS NULL
       AND EXISTS (SELECT FROM knockon.pauses p LEFT JOIN knockon.datasets d
                       ON p.kind = 'dataset' AND d.org_id = p.org_id AND d.name = p.name
                   WHERE p.org_id = i.org_id AND (p.kind = 'org' OR d.id = i.dataset_uuid)))
        AS invalidations,
    (SELECT count(*) FROM knockon.tasks t
     WHERE t.org_id = %(org_id)s AND t.status = 'queued'
       AND t.job_id IN (SELECT p.job_id FROM knockon.paused_jobs p WHERE p.org_id = t.org_id)) AS tasks

-- :name gathering
-- Datasets with a debounce whose invalidations are not planned yet, and the end of the gathering.
SELECT dataset, until FROM knockon.gathering WHERE org_id = %(org_id)s ORDER BY dataset
