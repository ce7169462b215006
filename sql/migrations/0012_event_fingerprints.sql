-- Fingerprints of the data that events of sources describe: the same one again changes nothing.
-- knockon: locks knockon.data_invalidations ACCESS EXCLUSIVE
-- knockon: locks knockon.data_invalidations_history ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- Null: unknown. The history has the same columns.
ALTER TABLE data_invalidations ADD fingerprint text;
ALTER TABLE data_invalidations_history ADD fingerprint text;

ALTER TABLE data_invalidations DROP CONSTRAINT data_invalidations_outcome_check;
ALTER TABLE data_invalidations ADD CONSTRAINT data_invalidations_outcome_check
    CHECK (outcome IN ('planned', 'affects_nothing', 'unchanged', 'not_current', 'pending_approval',
        'rejected', 'set_aside'));
