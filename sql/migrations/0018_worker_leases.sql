-- Leases of workers that have no connection to the database, with what the service gave them.

SET LOCAL search_path = knockon, pg_temp;

-- The terms are those of the claim: a deploy may change the lineage during the run. There are no
-- foreign keys, because rows of ended attempts are removed later.
CREATE TABLE worker_leases (
    task_id uuid PRIMARY KEY,
    org_id uuid NOT NULL,
    token uuid NOT NULL,
    terms jsonb NOT NULL
);
CREATE INDEX worker_leases_org ON worker_leases (org_id);
