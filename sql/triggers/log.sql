-- Reading the change log.

-- :name stream
-- The log's own name. It is another log when the cluster was made anew, and when it came back from
-- a backup or a standby (on another timeline), where transactions we saw may be gone and their
-- numbers given to others: then what is there is read again, from the start.
SELECT concat_ws('/', 'postgres', system_identifier,
    ltrim(left(pg_walfile_name(pg_current_wal_lsn()), 8), '0'), current_database()) AS stream
FROM pg_control_system();

-- :name read
-- A page of what is committed in `upto` (by default: now) and was not yet in `seen`, after the
-- place (xid, id). `upto` comes in every row, and in a single row of nulls when there is nothing.
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
-- Record how far a reader has read for good, so that nothing is trimmed that it still needs. Of two
-- consumers under one name the slower must not take the position back.
INSERT INTO knockon_source.readers AS r (consumer, position, updated_at, org)
VALUES (%(consumer)s, %(position)s, clock_timestamp(), %(org)s::uuid)
ON CONFLICT (consumer) DO UPDATE
SET position = excluded.position, updated_at = excluded.updated_at, org = excluded.org
WHERE coalesce((r.position::json ->> 'count')::bigint, 0)
        <= coalesce((excluded.position::json ->> 'count')::bigint, 0)
    OR r.position::json ->> 'mark' IS NOT NULL OR excluded.position::json ->> 'mark' IS NOT NULL;

-- :name has
-- Whether a change that was read is still in the log.
SELECT EXISTS (
    SELECT FROM knockon_source.changes
    WHERE xid = %(xid)s::text::xid8 AND id = %(id)s
        AND (extract(epoch FROM changed_at) * 1000000)::bigint = %(written)s
) AS is_there;

-- :name trim
-- Delete what every registered reader has seen: transactions older than the oldest that any of them
-- may still have to read. Not all at once: no statement of ours is to be a long one.
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
