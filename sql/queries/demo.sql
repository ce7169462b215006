-- :name invalidations
-- Invalidations since a time.
SELECT i.id, d.name AS dataset
FROM knockon.all_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org_id)s AND i.created_at >= %(since)s ORDER BY i.id

-- :name plans
-- Plans since a time.
SELECT id, document FROM knockon.all_plans
WHERE org_id = %(org_id)s AND created_at >= %(since)s ORDER BY id

-- :name wave
-- Partitions of the tasks of plans, by job.
SELECT t.job_name AS job, max(t.completed_at) AS ended,
       sum(cardinality(t.partitions)) AS planned,
       sum(cardinality(t.partitions) * (t.status = 'succeeded')::int) AS ran,
       sum(cardinality(t.partitions) * (t.outcome = 'changed')::int) AS changed
FROM knockon.all_tasks t
WHERE t.org_id = %(org_id)s AND t.plan_ids && %(plans)s GROUP BY t.job_name

-- :name output_partitions
-- Number of partitions built by jobs.
SELECT count(*) AS partitions
FROM knockon.partition_versions v JOIN knockon.current_datasets c USING (dataset_uuid, dataset_version)
WHERE c.org_id = %(org_id)s AND v.task_id IS NOT NULL

-- :name last_day_of_weather
-- The last day with weather, in New York.
SELECT to_char(max(time_hour) AT TIME ZONE 'America/New_York', 'YYYY-MM-DD') AS day
FROM nyc.weather
