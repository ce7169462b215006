-- :name now
-- The database's own clock, by which what follows is told from what was before.
SELECT clock_timestamp() AS now

-- :name heard
-- What has been written down since.
SELECT i.id, d.name AS dataset
FROM knockon.data_invalidations i JOIN knockon.datasets d ON d.id = i.dataset_uuid
WHERE i.org_id = %(org_id)s AND i.created_at >= %(since)s ORDER BY i.id

-- :name plans
-- What was decided since.
SELECT id, document FROM knockon.plans
WHERE org_id = %(org_id)s AND created_at >= %(since)s ORDER BY id

-- :name wave
-- What became of the tasks of some plans, in partitions, by job.
SELECT j.name AS job, max(t.completed_at) AS ended,
       sum(cardinality(t.partitions)) AS planned,
       sum(cardinality(t.partitions) * (t.status = 'succeeded')::int) AS ran,
       sum(cardinality(t.partitions) * (t.outcome = 'changed')::int) AS changed
FROM knockon.tasks t JOIN knockon.jobs j ON j.id = t.job_id
WHERE t.org_id = %(org_id)s AND t.plan_ids && %(plans)s GROUP BY j.name

-- :name made
-- How many partitions jobs have made.
SELECT count(*) AS partitions
FROM knockon.partition_versions v JOIN knockon.current_datasets c USING (dataset_uuid, dataset_version)
WHERE c.org_id = %(org_id)s AND v.task_id IS NOT NULL

-- :name last_day_of_weather
-- The last day in New York of which there is weather.
SELECT to_char(max(time_hour) AT TIME ZONE 'America/New_York', 'YYYY-MM-DD') AS day
FROM nyc.weather
