-- Knockon's objects in a source database: one small schema, `knockon_source`.

-- :name serialize
-- Serialize attaching and detaching within a database, without a lock that writers wait for.
SELECT pg_catalog.pg_advisory_xact_lock(31073737606428526);

-- :name schema
CREATE SCHEMA IF NOT EXISTS knockon_source;

-- :name tables
-- `typed` returns its value and requires exactly the type of the other argument: as both have type
-- anyelement, no cast is applied. It is inlined when a statement is planned, so it costs nothing.
-- The key of changes begins with the transaction, because ids commit out of order; one index serves
-- writers, readers and trimming. `org` is null in rows logged by triggers of an earlier version.
CREATE TABLE IF NOT EXISTS knockon_source.changes (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    source text,
    dataset text NOT NULL,
    kind text NOT NULL,
    partitions text[],
    columns text[],
    rows bigint,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    org uuid,
    PRIMARY KEY (xid, id),
    CONSTRAINT changes_kind_check
        CHECK (kind IN ('insert', 'update', 'delete', 'truncate', 'altered'))
);
CREATE TABLE IF NOT EXISTS knockon_source.readers (
    consumer text PRIMARY KEY,
    position text NOT NULL,
    updated_at timestamptz NOT NULL,
    org uuid,
    widened text
);
CREATE TABLE IF NOT EXISTS knockon_source.repeats (
    zone text,
    grain text,
    bucket timestamp,
    last text NOT NULL,
    PRIMARY KEY (zone, grain, bucket)
);
CREATE TABLE IF NOT EXISTS knockon_source.attachments (
    org uuid,
    dataset text,
    relation oid,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    partitioning text NOT NULL,
    columns text NOT NULL,
    shape text NOT NULL,
    unannounced oid[] NOT NULL DEFAULT '{}',
    attached_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org, dataset, relation)
);
CREATE OR REPLACE FUNCTION knockon_source.typed(value anyelement, type anyelement)
RETURNS anyelement LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT value';
COMMENT ON FUNCTION knockon_source.typed(anyelement, anyelement) IS NULL;

-- :name is_outdated
-- True if the log was created by a version of Knockon that did not separate orgs.
SELECT NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass('knockon_source.changes') AND attname = 'org'
) AS is_outdated;

-- :name upgrade
-- Existing rows and readers are kept, so that no logged change is lost.
ALTER TABLE knockon_source.changes ADD COLUMN org uuid,
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check
        CHECK (kind IN ('insert', 'update', 'delete', 'truncate', 'altered')) NOT VALID;
ALTER TABLE knockon_source.readers ADD COLUMN org uuid, ADD COLUMN widened text;

-- :name is_complete
-- True if the log has every table of this version.
SELECT pg_catalog.to_regclass('knockon_source.attachments') IS NOT NULL AS is_complete;

-- :name settings
-- The trigger functions have the same settings, so that a key's text never depends on the session.
-- Names are resolved only in pg_catalog, never in schemas that other roles can write to.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO';
SET LOCAL extra_float_digits = 1;
SET LOCAL intervalstyle = 'postgres';
SET LOCAL bytea_output = 'hex';
SET LOCAL quote_all_identifiers = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL array_nulls = on;
-- Rows hidden by a policy cause an error instead of being left out of an announcement.
SET LOCAL row_security = off;

-- :name patience
-- The timeout is short, because writers queue behind a waiting lock.
SET LOCAL lock_timeout = '3s';
SET LOCAL client_min_messages = 'warning';

-- :name check_zone
SELECT now() AT TIME ZONE %(zone)s;

-- :name store_repeats
-- Replace the repeated windows of a zone.
WITH gone AS (
    DELETE FROM knockon_source.repeats
    WHERE zone = %(zone)s AND grain = %(grain)s AND bucket <> ALL (%(buckets)s::timestamp[])
)
INSERT INTO knockon_source.repeats (zone, grain, bucket, last)
SELECT %(zone)s, %(grain)s, r.bucket, r.last
FROM unnest(%(buckets)s::timestamp[], %(lasts)s::text[]) AS r (bucket, last)
ON CONFLICT (zone, grain, bucket) DO UPDATE SET last = excluded.last;
