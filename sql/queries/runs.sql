-- :name lock
-- Serialize transactions of a feed: the announcement and the end of a run may arrive concurrently in
-- two partitions, and the later transaction must see the earlier one.
SELECT pg_catalog.pg_advisory_xact_lock(
    pg_catalog.hashtextextended('knockon runs ' || %(org_id)s::text || ' ' || %(feed)s, 0))

-- :name announced
-- The number of stored outputs, up to a limit.
SELECT count(*) AS outputs FROM (
    SELECT FROM knockon.run_outputs WHERE org_id = %(org_id)s AND feed = %(feed)s AND expired_at IS NULL
    LIMIT %(most)s
) remembered

-- :name announce
-- Store outputs until their runs end. A repeated announcement extends the retention.
INSERT INTO knockon.run_outputs
    (org_id, feed, run, digest, namespace, name, output, is_whole, stream, position)
SELECT DISTINCT ON (n.run, n.digest) %(org_id)s, %(feed)s, n.run, n.digest, n.namespace, n.name,
    n.output, n.is_whole, n.stream, n.position
FROM unnest(%(runs)s::text[], %(digests)s::text[], %(namespaces)s::text[], %(names)s::text[],
            %(outputs)s::text[], %(wholes)s::bool[], %(streams)s::text[], %(positions)s::text[])
    AS n (run, digest, namespace, name, output, is_whole, stream, position)
ON CONFLICT (org_id, feed, run, digest) DO UPDATE
SET announced_at = clock_timestamp(), expired_at = NULL

-- :name end
-- Store the ends of runs temporarily, for announcements that arrive after the end.
INSERT INTO knockon.ended_runs (org_id, feed, run)
SELECT DISTINCT %(org_id)s::uuid, %(feed)s, run FROM unnest(%(runs)s::text[]) AS run
ON CONFLICT (org_id, feed, run) DO UPDATE SET ended_at = clock_timestamp()

-- :name take
-- Delete and return the outputs of ended runs.
DELETE FROM knockon.run_outputs o
USING knockon.ended_runs e
WHERE o.org_id = %(org_id)s AND o.feed = %(feed)s AND o.run = ANY(%(runs)s)
  AND e.org_id = o.org_id AND e.feed = o.feed AND e.run = o.run
RETURNING o.run, o.namespace, o.name, o.output, o.is_whole, o.stream, o.position

-- :name expire
-- Return at most a thousand outputs whose runs have reported nothing for a week. They are kept for
-- another month, because a run may still write and end after that week.
UPDATE knockon.run_outputs o SET expired_at = clock_timestamp()
WHERE o.ctid = ANY(ARRAY(
    SELECT ctid FROM knockon.run_outputs
    WHERE org_id = %(org_id)s AND feed = %(feed)s
      AND expired_at IS NULL AND announced_at < clock_timestamp() - interval '7 days'
    ORDER BY announced_at LIMIT 1000))
RETURNING o.run, o.namespace, o.name, o.output, o.is_whole, o.stream, o.position

-- :name delete_expired
-- Delete outputs a month after they have counted as written.
DELETE FROM knockon.run_outputs
WHERE org_id = %(org_id)s AND feed = %(feed)s
  AND expired_at < clock_timestamp() - interval '30 days'

-- :name delete_ends
-- Delete ends of runs after a day; later announcements are not expected.
DELETE FROM knockon.ended_runs
WHERE org_id = %(org_id)s AND feed = %(feed)s
  AND ended_at < clock_timestamp() - interval '1 day'
