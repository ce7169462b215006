-- The readers of the change log.

-- :name state
-- The usage of the NOTIFY queue, and for each reader the approximate number of unread changes
-- (estimated from ids, which have few gaps) and the age of the oldest in seconds.
SELECT pg_notification_queue_usage() AS queue_usage, reader.*
FROM (SELECT) AS once
LEFT JOIN (
    SELECT r.consumer AS name,
        CASE WHEN oldest.id IS NULL THEN 0 ELSE greatest(newest.id - oldest.id, 0) + 1 END AS rows,
        coalesce(extract(epoch FROM clock_timestamp() - oldest.changed_at), 0)::float8 AS seconds
    FROM (
        SELECT consumer, (position::json ->> 'seen')::pg_snapshot AS seen
        FROM knockon_source.readers
        WHERE position::json ->> 'mark' IS DISTINCT FROM 'forgotten'
    ) AS r
    LEFT JOIN LATERAL (
        SELECT c.id, c.changed_at FROM knockon_source.changes c
        WHERE c.xid >= pg_snapshot_xmin(r.seen) AND NOT pg_visible_in_snapshot(c.xid, r.seen)
        ORDER BY c.xid, c.id LIMIT 1) AS oldest ON true
    LEFT JOIN (
        SELECT id FROM knockon_source.changes ORDER BY xid DESC, id DESC LIMIT 1) AS newest ON true
) AS reader ON true
ORDER BY reader.name;

-- :name log_exists
SELECT to_regclass('knockon_source.readers') IS NOT NULL AS exists;

-- :name enter
-- Take the lock that the session of every active reader holds.
SELECT pg_advisory_lock_shared(hashtextextended('knockon.reader ' || %(consumer)s, 0));

-- :name is_free
-- True if no session of a reader is active, nor can become active before this transaction ends.
SELECT pg_try_advisory_xact_lock(hashtextextended('knockon.reader ' || %(consumer)s, 0)) AS is_free,
    (SELECT org::text FROM knockon_source.readers WHERE consumer = %(consumer)s) AS org;

-- :name position
SELECT position FROM knockon_source.readers WHERE consumer = %(consumer)s;

-- :name current_snapshot
SELECT pg_current_snapshot()::text AS seen;

-- :name datasets
-- The datasets that an org's tables are attached to, and those attached by an earlier version.
SELECT dataset, true AS is_own FROM knockon_source.attachments WHERE org = %(org)s::uuid
UNION
SELECT obj_description(oid, 'pg_proc'), false FROM pg_proc
WHERE pronamespace = 'knockon_source'::regnamespace AND obj_description(oid, 'pg_proc') IS NOT NULL
ORDER BY 1;

-- :name widened
-- The drifted states for which a reader has marked datasets as changed: JSON by attachment.
SELECT widened FROM knockon_source.readers WHERE consumer = %(consumer)s;

-- :name set_widened
UPDATE knockon_source.readers SET widened = %(widened)s WHERE consumer = %(consumer)s;

-- :name unannounce
-- Have all tables of an org announced again, because new partitions may have been missed.
UPDATE knockon_source.attachments SET unannounced = ARRAY[relation] WHERE org = %(org)s::uuid;
