-- Reading the change log.

-- :name stream
-- The name of the log. A recreated cluster has another name, and so does a cluster restored from a
-- backup or promoted from a standby (another timeline). There, transactions read before may be gone
-- and their ids reused, so the log is read again from the start.
SELECT concat_ws('/', 'postgres', system_identifier,
    ltrim(left(pg_walfile_name(pg_current_wal_lsn()), 8), '0'), current_database()) AS stream
FROM pg_control_system();

-- :name read
-- A page of changes visible in `upto` (by default the current snapshot) but not in `seen`, after
-- (xid, id). Every row has `upto`; without changes it is the only value of a single row.
WITH bounds AS MATERIALIZED (
    SELECT %(seen)s::pg_snapshot AS seen,
        coalesce(%(upto)s::pg_snapshot, pg_current_snapshot()) AS upto
)
SELECT bounds.upto::text AS upto, page.xid::text AS xid, page.id, page.written, page.change
FROM bounds
LEFT JOIN LATERAL (
    SELECT c.xid, c.id, row_to_json(c)::text AS change,
        (extract(epoch FROM c.changed_at) * 1000000)::bigint AS written
    FROM knockon_source.changes c
    WHERE (c.xid, c.id) > (%(xid)s::text::xid8, %(id)s::bigint)
        AND c.xid < pg_snapshot_xmax(bounds.upto)
        AND NOT pg_visible_in_snapshot(c.xid, bounds.seen)
        AND pg_visible_in_snapshot(c.xid, bounds.upto)
        AND (c.org = %(org)s::uuid OR c.org IS NULL
            AND (%(datasets)s::text[] IS NULL OR c.dataset = ANY (%(datasets)s::text[])))
    ORDER BY c.xid, c.id
    LIMIT %(limit)s
) AS page ON true
ORDER BY page.xid, page.id;

-- :name register
-- Record a reader's durable position, so that later changes are not trimmed. Of two consumers with
-- the same name, the slower must not move the position back.
INSERT INTO knockon_source.readers AS r (consumer, position, updated_at, org)
VALUES (%(consumer)s, %(position)s, clock_timestamp(), %(org)s::uuid)
ON CONFLICT (consumer) DO UPDATE
SET position = excluded.position, updated_at = excluded.updated_at, org = excluded.org
WHERE coalesce((r.position::json ->> 'count')::bigint, 0)
        <= coalesce((excluded.position::json ->> 'count')::bigint, 0)
    OR r.position::json ->> 'mark' IS NOT NULL OR excluded.position::json ->> 'mark' IS NOT NULL;

-- :name has_change
-- True if a change that was read is still in the log.
SELECT EXISTS (
    SELECT FROM knockon_source.changes
    WHERE xid = %(xid)s::text::xid8 AND id = %(id)s
        AND (extract(epoch FROM changed_at) * 1000000)::bigint = %(written)s
) AS exists;

-- :name trim
-- Delete changes that every registered reader has read: those of transactions older than the oldest
-- one that any reader may still need. The limit keeps the statement short.
DELETE FROM knockon_source.changes AS c
USING (
    SELECT xid, id FROM knockon_source.changes
    WHERE xid < (
        SELECT min(pg_snapshot_xmin((position::json ->> 'seen')::pg_snapshot))
        FROM knockon_source.readers
        WHERE position::json ->> 'mark' IS DISTINCT FROM 'forgotten'
    )
    ORDER BY xid, id
    LIMIT %(limit)s
) AS old
WHERE c.xid = old.xid AND c.id = old.id;
