-- :name insert
-- Start a session of a user.
INSERT INTO knockon.sessions (id, org_id, user_id, hash, expires_at, ends_at, idle_seconds)
SELECT %(id)s, %(org_id)s, %(user_id)s, %(hash)s, t.now + %(seconds)s * interval '1 second',
       t.now + least(%(seconds)s, %(idle_seconds)s) * interval '1 second', %(idle_seconds)s
FROM (SELECT clock_timestamp() AS now) AS t

-- :name restrict
-- Restrict the transaction to the org of a session, or without such a session to none.
SELECT set_config('knockon.org_id', coalesce(knockon.org_of_session(%(hash)s)::text, ''), true)

-- :name by_hash
-- A session that has not ended, with its user and org. Its use is recorded at most once a minute.
SELECT s.id, s.org_id, o.slug AS org, s.user_id, u.email, u.role,
       s.last_used_at < clock_timestamp() - interval '1 minute' AS is_use_unrecorded,
       ARRAY(SELECT r.slug FROM knockon.org_role_memberships m JOIN knockon.org_roles r ON r.id = m.role_id
             WHERE m.user_id = s.user_id AND r.org_id = s.org_id) AS org_roles
FROM knockon.sessions s JOIN knockon.users u ON u.id = s.user_id JOIN knockon.orgs o ON o.id = s.org_id
WHERE s.hash = %(hash)s AND s.ends_at > clock_timestamp() AND u.suspended_at IS NULL

-- :name record_use
-- Record the use of a session, which keeps it from ending.
UPDATE knockon.sessions SET last_used_at = clock_timestamp(),
    ends_at = least(expires_at, clock_timestamp() + idle_seconds * interval '1 second')
WHERE id = %(id)s AND org_id = %(org_id)s

-- :name of_user
-- The sessions of a user that have not ended, newest first.
SELECT id, created_at, last_used_at, ends_at FROM knockon.sessions
WHERE org_id = %(org_id)s AND user_id = %(user_id)s AND ends_at > clock_timestamp() ORDER BY id DESC

-- :name end
-- End a session of a user, or all of them.
DELETE FROM knockon.sessions
WHERE org_id = %(org_id)s AND user_id = %(user_id)s AND (%(id)s::uuid IS NULL OR id = %(id)s)

-- :name end_of_org
-- End all sessions of an org.
DELETE FROM knockon.sessions WHERE org_id = %(org_id)s

-- :name expire
-- Delete the sessions of all orgs that have ended.
DELETE FROM knockon.sessions WHERE ends_at < now()
