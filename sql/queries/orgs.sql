-- :name by_slug
SELECT id, slug, name, settings FROM orgs WHERE slug = %(slug)s

-- :name create
INSERT INTO orgs (name, slug) VALUES (%(slug)s, %(slug)s)
ON CONFLICT (slug) DO NOTHING

-- :name epoch
SELECT lineage_epoch FROM orgs WHERE id = %(org_id)s

-- :name bump_epoch
UPDATE orgs SET lineage_epoch = lineage_epoch + 1 WHERE id = %(org_id)s

-- :name lock_planning
-- One planner and one deploy at a time in an org: both decide on what is open.
SELECT pg_advisory_xact_lock(hashtextextended('knockon.plan ' || %(org_id)s::text, 0))
