-- :name caution
-- Limit the cost of a scrape: no table scan and no long wait is worth it.
SELECT set_config('enable_seqscan', 'off', true), set_config('statement_timeout', '4s', true)

-- :name backlog
-- The backlog of an org in one row. Each part is read by a partial index on unfinished work and
-- stops at a limit, so a long history or a large wave costs no more. Ages are of work that no pause
-- holds back.
SELECT
    jsonb_build_object('blocked', blocked.tasks - blocked.waiting_for_inputs,
        'waiting_for_inputs', blocked.waiting_for_inputs,
        'queued', queued.tasks, 'running', running.tasks, 'failed', failed.tasks) AS tasks,
    running.expired,
    running.workers,
    coalesce(greatest(extract(epoch FROM now - queued.oldest), 0), 0)::float8 AS oldest_queued,
    (SELECT count(*) FROM (
        SELECT FROM knockon.data_invalidations
        WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL
          AND planning_error IS NULL
        LIMIT %(most)s) AS i) AS open_invalidations,
    (SELECT count(*) FROM (
        SELECT FROM knockon.data_invalidations
        WHERE org_id = %(org_id)s AND planning_error IS NOT NULL
        LIMIT %(most)s) AS i) AS set_aside_invalidations,
    coalesce(extract(epoch FROM now - (
        SELECT created_at FROM knockon.data_invalidations i
        WHERE org_id = %(org_id)s AND processed_at IS NULL AND plan_id IS NULL
          AND planning_error IS NULL
          AND NOT EXISTS (SELECT FROM knockon.pauses p WHERE p.org_id = %(org_id)s AND p.kind = 'org')
          AND dataset_uuid <> ALL (
              ARRAY(SELECT h.dataset_uuid FROM knockon.held_datasets h WHERE h.org_id = %(org_id)s))
          AND (i.after_partition IS NULL
               OR NOT EXISTS (SELECT FROM knockon.waiting_invalidations w WHERE w.id = i.id))
        ORDER BY id LIMIT 1)), 0)::float8 AS oldest_invalidation,
    (SELECT count(*) FROM (
        SELECT FROM knockon.dead_letters
        WHERE org_id = %(org_id)s AND replayed_at IS NULL AND closed_at IS NULL
        LIMIT %(most)s) AS d) AS dead_letters,
    (SELECT count(*) FROM knockon.plans
     WHERE org_id = %(org_id)s AND state = 'pending_approval' AND state <> 'applied') AS plans_pending_approval,
    coalesce(extract(epoch FROM now - (
        SELECT min(created_at) FROM knockon.plans
        WHERE org_id = %(org_id)s AND state = 'pending_approval' AND state <> 'applied')), 0)::float8
        AS oldest_pending_approval,
    (SELECT count(*) FROM knockon.pauses WHERE org_id = %(org_id)s) AS pauses,
    pg_notification_queue_usage() AS notification_queue
FROM (SELECT clock_timestamp() AS now) AS moment,
    LATERAL (
        SELECT count(*) AS tasks, count(waiting_for) AS waiting_for_inputs
        FROM (SELECT waiting_for FROM knockon.tasks
              WHERE org_id = %(org_id)s AND status = 'blocked' LIMIT %(most)s) AS t) AS blocked,
    LATERAL (
        SELECT count(*) AS tasks, min(queued_at) FILTER (WHERE job_id <> ALL (
            ARRAY(SELECT p.job_id FROM knockon.paused_jobs p WHERE p.org_id = %(org_id)s))) AS oldest
        FROM (SELECT queued_at, job_id FROM knockon.tasks
              WHERE org_id = %(org_id)s AND status = 'queued' LIMIT %(most)s) AS t) AS queued,
    LATERAL (
        SELECT count(*) AS tasks, count(DISTINCT worker_id) AS workers,
            count(*) FILTER (WHERE lease_expires_at < now) AS expired
        FROM (SELECT worker_id, lease_expires_at FROM knockon.tasks
              WHERE org_id = %(org_id)s AND status = 'running' LIMIT %(most)s) AS t) AS running,
    LATERAL (
        SELECT count(*) AS tasks
        FROM (SELECT FROM knockon.tasks
              WHERE org_id = %(org_id)s AND status = 'failed' LIMIT %(most)s) AS t) AS failed
