-- People known to an identity provider: what their groups grant, and their sessions in a browser.
-- knockon: locks knockon.users ACCESS EXCLUSIVE
-- knockon: locks knockon.users SHARE
-- knockon: locks knockon.users SHARE ROW EXCLUSIVE
-- knockon: locks knockon.org_role_memberships ACCESS EXCLUSIVE
-- knockon: locks knockon.orgs SHARE ROW EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

ALTER TABLE users ADD UNIQUE (org_id, id);

-- Roles granted by groups follow the groups; those granted manually stay as they are.
ALTER TABLE users
    ADD source text NOT NULL DEFAULT 'manual' CHECK (source IN ('manual', 'groups')),
    -- The time of issue of the newest token whose groups were applied.
    ADD groups_at timestamptz,
    -- Since when no group of the person grants a role.
    ADD suspended_at timestamptz;
ALTER TABLE org_role_memberships
    ADD source text NOT NULL DEFAULT 'manual' CHECK (source IN ('manual', 'groups'));

-- The person without the org, whose id and colon have 37 characters.
CREATE INDEX users_person ON users (substr(external_id, 38));

-- People removed by an admin, who are not added again by their groups.
CREATE TABLE removed_users (
    external_id text PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX removed_users_org ON removed_users (org_id);

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    user_id uuid NOT NULL,
    -- SHA-256 of the secret in the cookie.
    hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_used_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    -- When the session ends without further use: each use moves the time, up to expires_at.
    ends_at timestamptz NOT NULL,
    idle_seconds double precision NOT NULL,
    FOREIGN KEY (org_id, user_id) REFERENCES users (org_id, id) ON DELETE CASCADE
);
CREATE INDEX sessions_user ON sessions (user_id, id);
CREATE INDEX sessions_org ON sessions (org_id);
CREATE INDEX sessions_end ON sessions (ends_at);

-- The org of a session, found by a hash that only the holder of its secret can compute.
CREATE FUNCTION org_of_session(session_hash bytea) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN (SELECT s.org_id FROM knockon.sessions s WHERE s.hash = session_hash);

-- The org with a slug, or without one the only org of which the person is a user.
CREATE FUNCTION org_of_person(person text, wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN wanted IS NULL
    THEN (SELECT (array_agg(u.org_id))[1] FROM knockon.users u
          WHERE substr(u.external_id, 38) = person AND u.external_id = u.org_id::text || ':' || person
          HAVING count(*) = 1)
    ELSE (SELECT o.id FROM knockon.orgs o WHERE o.slug = wanted) END;
