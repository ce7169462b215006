-- An index on gathered invalidations, so that their first and last times are found at once.
-- knockon: outside transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS data_invalidations_debounced
    ON knockon.data_invalidations (dataset_uuid, created_at)
    WHERE is_debounced AND processed_at IS NULL AND plan_id IS NULL AND planning_error IS NULL
