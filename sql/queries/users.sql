-- :name insert
-- Add a user, unless the person is one already.
INSERT INTO knockon.users (org_id, external_id, email, role)
VALUES (%(org_id)s, %(external_id)s, %(email)s, %(role)s)
ON CONFLICT (external_id) DO NOTHING

-- :name list
-- The users of an org, with their roles.
SELECT u.id, u.external_id, u.email, u.role, u.created_at,
       ARRAY(SELECT r.slug FROM knockon.org_role_memberships m JOIN knockon.org_roles r ON r.id = m.role_id
             WHERE m.user_id = u.id ORDER BY r.slug) AS org_roles
FROM knockon.users u WHERE u.org_id = %(org_id)s ORDER BY u.email, u.external_id

-- :name named
-- The users of an org with an e-mail address, an external id or an id, locked until the end of the
-- transaction.
SELECT id, external_id, email, role FROM knockon.users
WHERE org_id = %(org_id)s AND (email = %(name)s OR external_id = %(name)s OR id::text = %(name)s)
ORDER BY external_id FOR UPDATE

-- :name lock_admins
-- The admins of an org, locked so that no two requests each remove the other's last one.
SELECT id, external_id, email, role FROM knockon.users
WHERE org_id = %(org_id)s AND role = 'admin' ORDER BY id FOR UPDATE

-- :name set_role
-- Give a user another role.
UPDATE knockon.users SET role = %(role)s WHERE id = %(id)s AND org_id = %(org_id)s

-- :name delete
-- Remove a user, with memberships and keys.
DELETE FROM knockon.users WHERE id = %(id)s AND org_id = %(org_id)s
