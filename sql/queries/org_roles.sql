-- :name insert
-- Add a role, unless there is one of this slug.
INSERT INTO knockon.org_roles (org_id, slug, name) VALUES (%(org_id)s, %(slug)s, %(name)s)
ON CONFLICT (org_id, slug) DO NOTHING

-- :name list
-- The roles of an org, with their members.
SELECT r.id, r.slug, r.name, r.created_at,
       ARRAY(SELECT u.email FROM knockon.org_role_memberships m JOIN knockon.users u ON u.id = m.user_id
             WHERE m.role_id = r.id ORDER BY u.email) AS members
FROM knockon.org_roles r WHERE r.org_id = %(org_id)s ORDER BY r.slug

-- :name by_slug
-- A role, locked until the end of the transaction.
SELECT id, slug, name FROM knockon.org_roles
WHERE org_id = %(org_id)s AND slug = %(slug)s FOR UPDATE

-- :name readable_datasets
-- The datasets that only members of some roles may read, this one among them.
SELECT name FROM knockon.datasets
WHERE org_id = %(org_id)s AND %(slug)s = ANY (read_roles) ORDER BY name

-- :name delete
-- Remove a role, with its memberships.
DELETE FROM knockon.org_roles WHERE id = %(id)s AND org_id = %(org_id)s

-- :name add_member
-- Give a user a role of the org, which groups do not take away.
INSERT INTO knockon.org_role_memberships AS m (role_id, user_id, org_id)
SELECT r.id, %(user)s, r.org_id FROM knockon.org_roles r WHERE r.id = %(role)s
ON CONFLICT (role_id, user_id) DO UPDATE SET source = 'manual' WHERE m.source <> 'manual'

-- :name remove_member
-- Take a role of the org from a user.
DELETE FROM knockon.org_role_memberships WHERE role_id = %(role)s AND user_id = %(user)s

-- :name grant_by_groups
-- Give a user the roles granted by groups, and return those that the user did not have.
WITH granted AS (
    INSERT INTO knockon.org_role_memberships (role_id, user_id, org_id, source)
    SELECT r.id, %(user)s, r.org_id, 'groups' FROM knockon.org_roles r
    WHERE r.org_id = %(org_id)s AND r.slug = ANY (%(slugs)s::text[])
    ON CONFLICT DO NOTHING RETURNING role_id
)
SELECT r.slug FROM granted g JOIN knockon.org_roles r ON r.id = g.role_id ORDER BY r.slug

-- :name revoke_by_groups
-- Take from a user the roles that groups have granted and no longer grant, and return them.
WITH revoked AS (
    DELETE FROM knockon.org_role_memberships m USING knockon.org_roles r
    WHERE r.id = m.role_id AND r.org_id = %(org_id)s AND m.user_id = %(user)s AND m.source = 'groups'
      AND r.slug <> ALL (%(slugs)s::text[])
    RETURNING r.slug
)
SELECT slug FROM revoked ORDER BY slug
