-- :name sources
-- Scheduled sources of an org, the last time that each fired or the deploy of its schedule, and the
-- current time.
SELECT d.name AS dataset, j.source, p.position, j.created_at AS since, clock_timestamp() AS now
FROM knockon.dag_current_versions c
JOIN knockon.jobs j ON j.dag_version_id = c.dag_version_id
JOIN knockon.datasets d ON d.org_id = j.org_id AND d.name = ANY(j.output_datasets)
LEFT JOIN knockon.consumer_positions p ON p.org_id = j.org_id AND p.consumer = 'schedule'
    AND p.stream = 'schedule/' || d.name
WHERE c.org_id = %(org_id)s AND j.activation = 'source' AND j.source ->> 'kind' = 'schedule'

-- :name restart
-- Store the current time as the position of scheduled sources, so that only later times count.
INSERT INTO knockon.consumer_positions (org_id, consumer, stream, position)
SELECT %(org_id)s, 'schedule', 'schedule/' || d.name, to_jsonb(clock_timestamp()) #>> '{}'
FROM unnest(%(datasets)s::text[]) AS d(name)
ON CONFLICT (org_id, consumer, stream)
DO UPDATE SET position = EXCLUDED.position, updated_at = clock_timestamp()
