-- :name caution
-- A scrape is never worth a scan of a table, nor a long wait.
SELECT set_config('enable_seqscan', 'off', true), set_config('statement_timeout', '4s', true)

-- :name ledger
-- How things stand in an org, in one row. Each part is read by a partial index over what is not
-- done yet, and stops at a limit, so that a long history and a large wave cost the same.
WITH unfinished AS MATERIALIZED (
    (SELECT CASE WHEN waiting_for IS NULL THEN 'blocked' ELSE 'held' END AS state,
        NULL::text AS worker_id, NULL::timestamptz AS lease_expires_at,
        NULL::timestamptz AS queued_at
     FROM tasks WHERE org_id = %(org_id)s AND status = 'blocked' LIMIT %(most)s)
    UNION ALL
    (SELECT 'queued', NULL, NULL, queued_at
     FROM tasks WHERE org_id = %(org_id)s AND status = 'queued' LIMIT %(most)s)
    UNION ALL
    (SELECT 'running', worker_id, lease_expires_at, NULL
     FROM tasks WHERE org_id = %(org_id)s AND status = 'running' LIMIT %(most)s)
    UNION ALL
    (SELECT 'failed', NULL, NULL, NULL
     FROM tasks WHERE org_id = %(org_id)s AND status = 'failed' LIMIT %(most)s)
), moment AS (SELECT clock_timestamp() AS now)
SELECT
    (SELECT coalesce(jsonb_object_agg(state, tasks), '{}')
     FROM (SELECT state, count(*) AS tasks FROM unfinished GROUP BY state) AS s) AS tasks,
    (SELECT count(*) FROM unfinished WHERE lease_expires_at < now) AS expired,
    (SELECT count(DISTINCT worker_id) FROM unfinished) AS workers,
    coalesce(greatest(extract(epoch FROM now - (SELECT min(queued_at) FROM unfinished)), 0), 0)
        ::float8 AS oldest_queued,
    (SELECT count(*) FROM (
        SELECT FROM data_invalidations
        WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL
        LIMIT %(most)s) AS i) AS open_invalidations,
    coalesce(extract(epoch FROM now - (
        SELECT created_at FROM data_invalidations
        WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL
        ORDER BY id LIMIT 1)), 0)::float8 AS oldest_invalidation,
    (SELECT count(*) FROM (
        SELECT FROM dead_letters
        WHERE org_id = %(org_id)s AND replayed_at IS NULL LIMIT %(most)s) AS d) AS dead_letters,
    (SELECT count(*) FROM plans
     WHERE org_id = %(org_id)s AND state = 'held' AND state <> 'applied') AS held_plans,
    coalesce(extract(epoch FROM now - (
        SELECT min(created_at) FROM plans
        WHERE org_id = %(org_id)s AND state = 'held' AND state <> 'applied')), 0)::float8
        AS oldest_held,
    pg_notification_queue_usage() AS doorbells
FROM moment
