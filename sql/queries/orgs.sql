-- :name by_slug
-- An org by its slug.
SELECT id, slug, name, settings FROM knockon.orgs WHERE slug = %(slug)s

-- :name all
-- All orgs, the oldest first.
SELECT id, slug FROM knockon.orgs ORDER BY created_at, id

-- :name create
-- Create an org at its first deploy.
INSERT INTO knockon.orgs (name, slug) VALUES (%(slug)s, %(slug)s)
ON CONFLICT (slug) DO NOTHING

-- :name epoch
-- The epoch of the lineage, which changes with every deploy.
SELECT lineage_epoch FROM knockon.orgs WHERE id = %(org_id)s

-- :name bump_epoch
-- Invalidate all cached lineages of an org.
UPDATE knockon.orgs SET lineage_epoch = nextval('knockon.lineage_epochs') WHERE id = %(org_id)s

-- :name lock_planning
-- Serialize plans and deploys of an org, because both decide on open invalidations.
SELECT pg_advisory_xact_lock(hashtextextended('knockon.plan ' || %(org_id)s::text, 0))

-- :name lock_planning_session
-- Take the same lock beyond the end of a transaction.
SELECT pg_advisory_lock(hashtextextended('knockon.plan ' || %(org_id)s::text, 0))

-- :name unlock_planning_session
-- Release the lock taken by lock_planning_session.
SELECT pg_advisory_unlock(hashtextextended('knockon.plan ' || %(org_id)s::text, 0))

-- :name settings
-- The settings of an org.
SELECT settings FROM knockon.orgs WHERE id = %(org_id)s

-- :name set
-- Set one setting of an org; JSON null is an explicit value.
UPDATE knockon.orgs
SET settings = settings || jsonb_build_object(%(setting)s::text, %(value)s::jsonb)
WHERE id = %(org_id)s

-- :name grant_named_tables
-- Grant the default org the tables named by its DAG files, unless the setting exists.
UPDATE knockon.orgs SET settings = '{"grants": "dag_files"}' || settings
WHERE slug = 'default' AND settings -> 'grants' IS NULL

-- :name try_lock_claims
-- Take the lock under which the running tasks of an org with a quota are counted.
SELECT pg_try_advisory_xact_lock(hashtextextended('knockon.claims ' || %(org_id)s::text, 0)) AS is_held

-- :name count_tasks
-- Count the unfinished tasks of an org in some statuses, up to a number for each status, by an index.
SELECT count(*) AS tasks
FROM unnest((SELECT %(statuses)s::text[])) AS s(status), LATERAL (
    SELECT FROM knockon.tasks t
    WHERE t.org_id = %(org_id)s AND t.status = s.status
      AND lower(t.status) IN ('blocked', 'queued', 'running', 'failed') -- the index has this form
    LIMIT (SELECT %(most)s::bigint)) AS t

-- :name stored_log_bytes
-- The size of an org's logs in the history.
SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM knockon.stored_logs WHERE org_id = %(org_id)s

-- :name lock_full_month
-- Lock the oldest month with logs of an org whose logs exceed a size.
SELECT s.month, t.bytes - %(most)s::bigint AS excess
FROM knockon.stored_logs s, LATERAL (
    SELECT sum(bytes)::bigint AS bytes FROM knockon.stored_logs WHERE org_id = %(org_id)s) AS t
WHERE s.org_id = %(org_id)s AND s.bytes > 0 AND t.bytes > %(most)s
ORDER BY s.month LIMIT 1
FOR UPDATE OF s

-- :name drop_logs
-- Replace the oldest logs of a month by a note, at most some of them and as many as exceed the quota.
WITH oldest AS (
    SELECT task_id, number, octet_length(log) AS bytes,
        sum(octet_length(log)) OVER (ORDER BY task_id, number) - octet_length(log) AS before
    FROM (SELECT task_id, number, log FROM knockon.task_attempts_history
          WHERE org_id = %(org_id)s AND octet_length(log) > 100
            AND task_id >= knockon.first_id_at(%(month)s)
            AND task_id < knockon.first_id_at(%(month)s + interval '1 month')
          ORDER BY task_id LIMIT %(limit)s) AS a
), dropped AS (
    UPDATE knockon.task_attempts_history a SET log = %(note)s
    FROM oldest o
    WHERE a.task_id = o.task_id AND a.number = o.number AND o.before < %(excess)s
    RETURNING o.bytes
)
UPDATE knockon.stored_logs s
SET bytes = CASE WHEN d.logs = 0 THEN 0 ELSE greatest(s.bytes - d.bytes, 0) END
FROM (SELECT count(*) AS logs, coalesce(sum(bytes), 0) AS bytes FROM dropped) AS d
WHERE s.org_id = %(org_id)s AND s.month = %(month)s

-- :name expire_stored_logs
-- Forget the sizes of logs in months that have left the history.
DELETE FROM knockon.stored_logs
WHERE month + interval '1 month' <= now() - %(days)s * interval '1 day'
