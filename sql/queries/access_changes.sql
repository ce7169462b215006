-- :name insert
-- Record a change of users, roles, keys or settings.
INSERT INTO knockon.access_changes (id, org_id, actor, origin, change, subject, before, after)
VALUES (%(id)s, %(org_id)s, %(actor)s, %(origin)s, %(change)s, %(subject)s, %(before)s, %(after)s)

-- :name list
-- The newest changes of an org before an id.
SELECT id, changed_at, actor, origin, change, subject, before, after FROM knockon.access_changes
WHERE org_id = %(org_id)s AND id < %(before)s ORDER BY id DESC LIMIT %(limit)s
