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
