-- Fingerprints that a decision has discarded: a run with the same result has changed nothing.
-- knockon: locks knockon.partition_versions ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- The fingerprint before a decision that left the partition stale, and the content version at that
-- time. It is valid as long as the version stays, which earlier code guarantees as well.
ALTER TABLE partition_versions ADD unverified_fingerprint text;
ALTER TABLE partition_versions ADD unverified_at timestamptz;
