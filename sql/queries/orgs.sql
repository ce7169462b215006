-- :name by_slug
-- An org by the name that people call it.
SELECT id, slug, name, settings FROM knockon.orgs WHERE slug = %(slug)s

-- :name create
-- An org comes into being with its first deploy.
INSERT INTO knockon.orgs (name, slug) VALUES (%(slug)s, %(slug)s)
ON CONFLICT (slug) DO NOTHING

-- :name epoch
-- Moves with every deploy.
SELECT lineage_epoch FROM knockon.orgs WHERE id = %(org_id)s

-- :name bump_epoch
-- Tells every cached lineage that it is old.
UPDATE knockon.orgs SET lineage_epoch = nextval('knockon.lineage_epochs') WHERE id = %(org_id)s

-- :name lock_planning
-- One planner and one deploy at a time in an org: both decide on what is open.
SELECT pg_advisory_xact_lock(hashtextextended('knockon.plan ' || %(org_id)s::text, 0))

-- :name lock_planning_session
-- The same lock, beyond the end of a transaction.
SELECT pg_advisory_lock(hashtextextended('knockon.plan ' || %(org_id)s::text, 0))

-- :name unlock_planning_session
-- Only what lock_planning_session has locked.
SELECT pg_advisory_unlock(hashtextextended('knockon.plan ' || %(org_id)s::text, 0))

-- :name settings
-- What an org has decided for itself.
SELECT settings FROM knockon.orgs WHERE id = %(org_id)s

-- :name set
-- One setting of an org; the JSON null is a decision for none.
UPDATE knockon.orgs
SET settings = settings || jsonb_build_object(%(setting)s::text, %(value)s::jsonb)
WHERE id = %(org_id)s

-- :name grant_named_tables
-- The default org is given the tables that its DAG files name, unless it has decided itself.
UPDATE knockon.orgs SET settings = '{"grants": "dag_files"}' || settings
WHERE slug = 'default' AND settings -> 'grants' IS NULL
