-- :name insert
-- Add a user, unless the person is one already.
INSERT INTO knockon.users (org_id, external_id, email, role)
VALUES (%(org_id)s, %(external_id)s, %(email)s, %(role)s)
ON CONFLICT (external_id) DO NOTHING

-- :name list
-- The users of an org, with their roles.
SELECT u.id, u.external_id, u.email, u.role, u.created_at, u.source, u.suspended_at,
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
-- Give a user another role, which groups do not change from then on.
UPDATE knockon.users SET role = %(role)s, source = 'manual', suspended_at = NULL
WHERE id = %(id)s AND org_id = %(org_id)s AND (role, source) IS DISTINCT FROM (%(role)s, 'manual')

-- :name delete
-- Remove a user, with memberships and keys.
DELETE FROM knockon.users WHERE id = %(id)s AND org_id = %(org_id)s

-- :name restrict_to_person
-- Restrict the transaction to an org, by its slug or as the only one of a person, or else to none.
SELECT set_config('knockon.org_id', coalesce(knockon.org_of_person(%(person)s, %(org)s)::text, ''), true)

-- :name person
-- The org of the transaction with its terms of admission, and the user that a person is in it, or
-- was until removed by an admin.
SELECT o.id AS org_id, o.slug AS org, o.settings -> 'admission' AS admission, u.id AS user_id, u.email,
       u.role, u.source, extract(epoch FROM u.groups_at)::double precision AS groups_at,
       u.suspended_at IS NOT NULL AS is_suspended,
       EXISTS (SELECT FROM knockon.removed_users r
               WHERE r.org_id = o.id AND r.external_id = o.id::text || ':' || %(person)s) AS is_removed,
       ARRAY(SELECT r.slug FROM knockon.org_role_memberships m JOIN knockon.org_roles r ON r.id = m.role_id
             WHERE m.user_id = u.id AND r.org_id = o.id) AS org_roles
FROM knockon.orgs o
LEFT JOIN knockon.users u ON u.org_id = o.id AND u.external_id = o.id::text || ':' || %(person)s
WHERE o.id = knockon.current_org()

-- :name lock
-- Lock a user until the end of the transaction.
SELECT id FROM knockon.users WHERE id = %(id)s AND org_id = %(org_id)s FOR UPDATE

-- :name insert_person
-- Add a person whose groups grant a role, unless another user has the e-mail address.
INSERT INTO knockon.users (org_id, external_id, email, role, source)
SELECT %(org_id)s, %(external_id)s, %(email)s, %(role)s, 'groups'
WHERE NOT EXISTS (SELECT FROM knockon.users u
                  WHERE u.org_id = %(org_id)s AND lower(u.email) = lower(%(email)s))
ON CONFLICT (external_id) DO NOTHING

-- :name record_removal
-- Keep the groups of a removed user from adding the user again.
INSERT INTO knockon.removed_users (external_id, org_id) VALUES (%(external_id)s, %(org_id)s)
ON CONFLICT (external_id) DO NOTHING

-- :name forget_removal
-- A user added by an admin is no longer a removed one.
DELETE FROM knockon.removed_users WHERE org_id = %(org_id)s AND external_id = %(external_id)s

-- :name set_role_by_groups
-- Give a user the role granted by groups, or suspend the user without one.
UPDATE knockon.users SET role = coalesce(%(role)s, role),
    suspended_at = CASE WHEN %(role)s::text IS NULL THEN clock_timestamp() END
WHERE id = %(id)s AND org_id = %(org_id)s

-- :name record_groups
-- Record the time of issue of the token whose groups were applied.
UPDATE knockon.users SET groups_at = to_timestamp(%(issued_at)s)
WHERE id = %(id)s AND org_id = %(org_id)s

-- :name forget_groups
-- Have the groups of all users of an org applied again.
UPDATE knockon.users SET groups_at = NULL WHERE org_id = %(org_id)s AND groups_at IS NOT NULL
