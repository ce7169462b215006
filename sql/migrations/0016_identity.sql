-- Keys of users, and the log of changes to users, roles, keys and settings.
-- knockon: locks knockon.orgs SHARE ROW EXCLUSIVE
-- knockon: locks knockon.users SHARE ROW EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- A key acts for its user, within its scopes.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    -- The part of the key that is shown in lists.
    prefix text NOT NULL UNIQUE,
    -- SHA-256 of the whole key.
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    scopes text[] NOT NULL CHECK (scopes <> '{}' AND scopes <@ '{api,read,ingest,worker}'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by text,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_org ON api_keys (org_id, id);
CREATE INDEX api_keys_user ON api_keys (user_id);

CREATE TABLE access_changes (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The person, if known, and the adapter through which the change was requested.
    actor text,
    origin text NOT NULL,
    change text NOT NULL,
    subject text NOT NULL,
    before jsonb,
    after jsonb
);
CREATE INDEX access_changes_org ON access_changes (org_id, id);
