-- Webhooks of an org, which are sent the events of its feed.
-- knockon: locks knockon.events ACCESS EXCLUSIVE
-- knockon: locks knockon.orgs SHARE ROW EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- The feed is the outbox: each webhook has a position in it, which moves after a delivery.
CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    name text NOT NULL,
    url text NOT NULL,
    -- Signs the deliveries; needed in clear text for that.
    secret text NOT NULL,
    kinds text[] NOT NULL CHECK (kinds <> '{}'),
    -- The last event that was delivered or skipped.
    position bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by text,
    -- Failures since the last delivery, and the time before which nothing is sent.
    failures int NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    last_error text,
    UNIQUE (org_id, name)
);

-- Existing events are known to satisfy the wider check; see 0009.
ALTER TABLE events DROP CONSTRAINT events_kind_check;
DO $$
DECLARE
    month regclass;
BEGIN
    FOR month IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'knockon.events'::regclass LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS events_kind_check', month);
    END LOOP;
END $$;
ALTER TABLE events ADD CONSTRAINT events_kind_check CHECK (kind IN (
    'invalidation.recorded', 'invalidation.set_aside', 'plan.pending_approval', 'plan.applied',
    'plan.rejected', 'task.started', 'task.succeeded', 'task.skipped', 'task.attempt_failed',
    'task.failed', 'task.retried', 'task.canceled', 'dag.deployed', 'dag.undeployed',
    'dead_letter.recorded', 'partition.lost'))
    NOT VALID;
