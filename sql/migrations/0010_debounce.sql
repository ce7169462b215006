-- Debounce: the invalidations of a dataset are gathered before any of them is planned.
-- knockon: locks knockon.datasets ACCESS EXCLUSIVE
-- knockon: locks knockon.data_invalidations ACCESS EXCLUSIVE
-- knockon: locks knockon.data_invalidations_history ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- Seconds: {"quiet": after the last invalidation, "at_most": after the first}; null: no debounce.
ALTER TABLE datasets ADD debounce jsonb;

-- Whether the dataset had a debounce at the time. The history has the same columns.
ALTER TABLE data_invalidations ADD is_debounced boolean NOT NULL DEFAULT false;
ALTER TABLE data_invalidations_history ADD is_debounced boolean NOT NULL DEFAULT false;

-- Datasets with open invalidations that are still gathered, and the end of the gathering.
CREATE VIEW gathering AS
SELECT d.org_id, d.id AS dataset_uuid, d.name AS dataset, open.until
FROM datasets d, LATERAL (
    SELECT least(
        max(i.created_at) + (d.debounce ->> 'quiet')::float8 * interval '1 second',
        min(i.created_at) + (d.debounce ->> 'at_most')::float8 * interval '1 second') AS until
    FROM data_invalidations i
    WHERE i.dataset_uuid = d.id AND i.is_debounced AND i.processed_at IS NULL
      AND i.plan_id IS NULL AND i.planning_error IS NULL) AS open
WHERE d.debounce IS NOT NULL AND open.until > clock_timestamp();

-- Datasets whose invalidations are not planned for now: paused, or still gathered.
CREATE VIEW held_datasets AS
SELECT p.org_id, d.id AS dataset_uuid
FROM pauses p JOIN datasets d ON d.org_id = p.org_id AND d.name = p.name
WHERE p.kind = 'dataset'
UNION ALL SELECT org_id, dataset_uuid FROM gathering;

-- Jobs whose tasks are not claimed, by `dag.job`. Earlier code paused all jobs of a name, without the
-- DAG; a name with a dot is read as that of a DAG and a job.
CREATE VIEW paused_jobs AS
SELECT p.org_id, j.id AS job_id
FROM pauses p JOIN jobs j ON j.org_id = p.org_id
    AND (p.name = j.dag_name || '.' || j.name OR (p.name = j.name AND p.name NOT LIKE '%.%'))
WHERE p.kind = 'job';
