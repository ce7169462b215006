-- What a source database holds for Knockon: one small schema, `knockon_source`.

-- :name create
-- Make the schema, once. A change is known by the transaction that wrote it, because ids commit out
-- of order; so the key leads with it, and one index serves writers, readers and the trimming.
SELECT pg_advisory_xact_lock(31073737606428526);
CREATE SCHEMA IF NOT EXISTS knockon_source;
CREATE TABLE IF NOT EXISTS knockon_source.changes (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    source text,
    dataset text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('insert', 'update', 'delete', 'truncate')),
    partitions text[],
    columns text[],
    rows bigint,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (xid, id)
);
CREATE TABLE IF NOT EXISTS knockon_source.readers (
    consumer text PRIMARY KEY,
    position text NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS knockon_source.repeats (
    zone text,
    grain text,
    bucket timestamp,
    last text NOT NULL,
    PRIMARY KEY (zone, grain, bucket)
);

-- :name settings
-- What the trigger functions set too, so that a key's text never hangs on the session.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO';
SET LOCAL extra_float_digits = 1;
-- All rows or an error: what a policy hides is announced, too.
SET LOCAL row_security = off;

-- :name patience
-- Writers queue behind a lock that waits, so it does not wait for long.
SET LOCAL lock_timeout = '3s';
SET LOCAL client_min_messages = 'warning';

-- :name check_zone
SELECT now() AT TIME ZONE %(zone)s;

-- :name store_repeats
-- Replace what is known of a zone's repeated windows.
WITH gone AS (
    DELETE FROM knockon_source.repeats
    WHERE zone = %(zone)s AND grain = %(grain)s AND bucket <> ALL (%(buckets)s::timestamp[])
)
INSERT INTO knockon_source.repeats (zone, grain, bucket, last)
SELECT %(zone)s, %(grain)s, r.bucket, r.last
FROM unnest(%(buckets)s::timestamp[], %(lasts)s::text[]) AS r (bucket, last)
ON CONFLICT (zone, grain, bucket) DO UPDATE SET last = excluded.last;
