-- Processes that are connected: each has shared locks, for as long as its session lasts.

-- :name register
-- Show that a process of this kind works for an org.
SELECT pg_advisory_lock_shared(hashtextextended('knockon.' || %(kind)s || ' ' || %(org)s, 0))

-- :name connected
-- The kinds of processes that work for any of these orgs. A lock has the two halves of its number.
SELECT DISTINCT k.kind
FROM unnest(%(kinds)s::text[]) AS k(kind), unnest(%(orgs)s::text[]) AS o(org)
CROSS JOIN LATERAL (SELECT hashtextextended('knockon.' || k.kind || ' ' || o.org, 0) AS number) AS n
WHERE EXISTS (
    SELECT FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND l.classid = ((n.number >> 32) & 4294967295)::oid
        AND l.objid = (n.number & 4294967295)::oid)
