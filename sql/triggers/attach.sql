-- Templates of what is attached to one table for one dataset. Names in braces are filled in with
-- quoted identifiers and literals. A bucket (b0, b1, ...) is the window or text that a row's value
-- falls into, one for each dimension, cheap to compute and to group by; only the few distinct
-- buckets of a statement become keys.

-- :name log
-- Write what changed: one row for each set of changed columns, with the distinct keys, or one
-- range around them all where they are too many. Numbers that lie far apart are listed all the same:
-- a range around them would name trillions of partitions. A key '*' is a row that no key can be given to.
WITH changed AS ({changed}),
placed AS MATERIALIZED (SELECT columns, rows, {places} FROM changed),
keyed AS (SELECT placed.*, {key} AS key FROM placed)
INSERT INTO knockon_source.changes (source, dataset, kind, partitions, columns, rows)
SELECT {source}, {dataset}, {kind},
    CASE
        WHEN bool_or(key = '*') THEN NULL
        WHEN count(DISTINCT key) > {limit} AND (count(DISTINCT key) > {most}
            OR {covered} <= {sparse} * count(DISTINCT key))
        THEN nullif(ARRAY[{hull}], ARRAY['*'])
        ELSE array_agg(DISTINCT key ORDER BY key)
    END,
    columns, sum(rows)
FROM keyed
GROUP BY columns;

-- :name rows
-- Whole rows that came, went or are there.
SELECT {names}, NULL::text[] AS columns, count(*) AS rows
FROM (SELECT {buckets} FROM {rows} AS r) AS bucketed
GROUP BY {names};

-- :name pairs
-- Rows as they were and as they are. `*<>` compares stored images, so it works for every type and
-- an equal pair has not changed at all. Columns are known only where a row stayed in its place (a
-- partition that a row leaves or enters has lost or won it), and only while the table has the
-- columns that it had when it was attached. Triggers cannot see virtual columns; any may follow.
SELECT side.*, CASE WHEN moved.columns IS NOT NULL THEN moved.columns || {virtual}::text[] END AS columns
FROM (
    SELECT was, stays, {old_names}, {new_names}, count(*) AS rows,
        CASE
            WHEN was AND stays AND ({old_names}) = ({new_names})
                AND {width} = (SELECT relnatts FROM pg_class WHERE oid = TG_RELID)
            THEN array_remove(ARRAY[{flags}]::text[], NULL)
        END AS columns
    FROM (
        SELECT {was} AS was, {stays} AS stays, {sides}
        FROM {pairing}
        WHERE (o.* *<> n.*) IS NOT FALSE
    ) AS pair
    GROUP BY was, stays, {old_names}, {new_names}
) AS moved
CROSS JOIN LATERAL (VALUES
    (was, {old_names}, CASE WHEN stays THEN 0 ELSE moved.rows END),
    (stays, {new_names}, moved.rows)
) AS side (there, {names}, rows)
WHERE side.there;

-- :name paired_by_key
old_rows AS o FULL JOIN new_rows AS n ON {same_key};

-- :name paired_by_image
-- Without a primary key only rows that came out the same find each other, copies by their number.
(SELECT r.*, (r.*)::text COLLATE "C" AS knockon_image,
    row_number() OVER (PARTITION BY (r.*)::text COLLATE "C") AS knockon_number FROM old_rows AS r) AS o
FULL JOIN
(SELECT r.*, (r.*)::text COLLATE "C" AS knockon_image,
    row_number() OVER (PARTITION BY (r.*)::text COLLATE "C") AS knockon_number FROM new_rows AS r) AS n
ON o.knockon_image = n.knockon_image AND o.knockon_number = n.knockon_number;

-- :name truncated
INSERT INTO knockon_source.changes (source, dataset, kind) VALUES ({source}, {dataset}, {kind});

-- :name body
-- The writer never fails because of us: what cannot be worked out is logged as unknown. Nor does its
-- commit, for which a full queue of doorbells would be an error: we leave half of it to others. What
-- has rung cannot be prepared, so where transactions may be, nobody rings, and the log is polled.
BEGIN
    {log};
    IF FOUND AND pg_notification_queue_usage() < 0.5
        AND current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_notify('knockon_changes', '');
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'knockon logs all of % as changed, attach it again: %', {dataset}, SQLERRM;
    BEGIN
        INSERT INTO knockon_source.changes (source, dataset, kind) VALUES ({source}, {dataset}, {kind});
        IF pg_notification_queue_usage() < 0.5
            AND current_setting('max_prepared_transactions') = '0' THEN
            PERFORM pg_notify('knockon_changes', '');
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'knockon did not log a change of %, announce it: %', {dataset}, SQLERRM;
    END;
    RETURN NULL;
END;

-- :name trigger
-- ALWAYS: bulk loads and replication set session_replication_role, and are changes all the same.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET extra_float_digits = 1
AS {body};
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
COMMENT ON FUNCTION {function}() IS {dataset};
CREATE OR REPLACE TRIGGER {trigger} AFTER {event} ON {table} {referencing}
FOR EACH STATEMENT EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger};

-- :name detach
DROP FUNCTION {function}() CASCADE;

-- :name ring
SELECT pg_notify('knockon_changes', '');
