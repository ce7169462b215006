-- :name insert
-- Store a key by its hash.
INSERT INTO knockon.api_keys
    (id, org_id, user_id, name, prefix, hash, scopes, created_by, expires_at)
VALUES (%(id)s, %(org_id)s, %(user_id)s, %(name)s, %(prefix)s, %(hash)s, %(scopes)s, %(created_by)s,
        clock_timestamp() + %(seconds)s * interval '1 second')

-- :name list
-- The keys of an org, newest first.
SELECT k.prefix, k.name, u.email AS "user", k.scopes, k.created_at, k.created_by, k.expires_at,
       k.revoked_at, k.last_used_at,
       k.revoked_at IS NULL AND coalesce(k.expires_at > clock_timestamp(), true) AS is_valid
FROM knockon.api_keys k JOIN knockon.users u ON u.id = k.user_id
WHERE k.org_id = %(org_id)s ORDER BY k.id DESC

-- :name revoke
-- End the validity of a key at once; an earlier revocation stays.
UPDATE knockon.api_keys SET revoked_at = clock_timestamp()
WHERE org_id = %(org_id)s AND prefix = %(prefix)s AND revoked_at IS NULL
RETURNING name

-- :name extend
-- Let a key that was not revoked be valid for some seconds from now.
UPDATE knockon.api_keys SET expires_at = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE org_id = %(org_id)s AND prefix = %(prefix)s AND revoked_at IS NULL
RETURNING name

-- :name restrict
-- Restrict the transaction to the org of the key with a prefix, or without such a key to none;
-- sessions without an org can look up nothing else.
SELECT set_config('knockon.org_id', coalesce(knockon.org_of_key(%(prefix)s)::text, ''), true)

-- :name by_prefix
-- The key with a prefix, with its user and org; no key that has expired or was revoked, or of a
-- suspended user. Its use is recorded at most once a minute.
SELECT k.id, k.hash, k.scopes, k.org_id, o.slug AS org, k.user_id, u.email, u.role,
       coalesce(k.last_used_at < clock_timestamp() - interval '1 minute', true) AS is_use_unrecorded,
       ARRAY(SELECT r.slug FROM knockon.org_role_memberships m JOIN knockon.org_roles r ON r.id = m.role_id
             WHERE m.user_id = k.user_id AND r.org_id = k.org_id) AS org_roles
FROM knockon.api_keys k JOIN knockon.users u ON u.id = k.user_id JOIN knockon.orgs o ON o.id = k.org_id
WHERE k.prefix = %(prefix)s AND k.revoked_at IS NULL AND u.suspended_at IS NULL
  AND coalesce(k.expires_at > clock_timestamp(), true)

-- :name record_use
-- Record the use of a key.
UPDATE knockon.api_keys SET last_used_at = clock_timestamp() WHERE id = %(id)s
