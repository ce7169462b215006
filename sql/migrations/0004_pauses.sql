-- Pauses of jobs, datasets and orgs by operators.
-- knockon: locks knockon.orgs SHARE ROW EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- The tasks of a paused job are not claimed. The invalidations of a paused dataset, or of all datasets
-- of a paused org, are not planned.
CREATE TABLE pauses (
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('job', 'dataset', 'org')),
    -- The name of the job or dataset, which outlives deploys; empty for the org.
    name text NOT NULL,
    paused_by text,
    paused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text,
    PRIMARY KEY (org_id, kind, name),
    CHECK ((kind = 'org') = (name = ''))
);
