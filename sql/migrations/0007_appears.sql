-- The time at which the time partitions of a job come into being.
-- knockon: locks knockon.jobs ACCESS EXCLUSIVE
-- knockon: locks knockon.data_invalidations ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- 'start' of the window (or earlier, with an input in the window), 'always', or a number of seconds
-- after the end of the window.
ALTER TABLE jobs ADD appears jsonb NOT NULL DEFAULT '"start"';

ALTER TABLE data_invalidations DROP CONSTRAINT data_invalidations_reason_check;
ALTER TABLE data_invalidations ADD CONSTRAINT data_invalidations_reason_check
    CHECK (reason IN ('change', 'arrival', 'correction', 'rewritten',
        'manual', 'schema_change', 'definition_change', 'schedule', 'found', 'appeared'));
