-- Templates of the triggers and functions of one attachment. Names in braces are replaced by quoted
-- identifiers and literals. A bucket (b0, b1, ...) is the window or text of a row's value, one per
-- dimension, cheap to compute and to group by. Keys are formatted only for the few distinct buckets
-- of a statement.

-- :name log
-- Log a change: one row per set of changed columns, with the distinct keys, or their common range if
-- there are too many. Sparse numbers are listed nevertheless, because their range could contain
-- trillions of partitions. The key '*' stands for rows that have no key.
WITH changed AS ({changed}),
valid AS MATERIALIZED (SELECT columns, rows, {valid_buckets} FROM changed),
keyed AS (SELECT valid.*, {key} AS key FROM valid)
{into}
SELECT {org}, {source}, {dataset}, {kind},
    CASE
        WHEN bool_or(key = '*') THEN NULL
        WHEN count(DISTINCT key) > {limit} AND (count(DISTINCT key) > {most}
            OR {covered} <= {sparse} * count(DISTINCT key))
        THEN nullif(ARRAY[{hull}], ARRAY['*'])
        ELSE array_agg(DISTINCT key ORDER BY key)
    END,
    columns, sum(rows)::pg_catalog.int8
FROM keyed
GROUP BY columns;

-- :name into
INSERT INTO knockon_source.changes (org, source, dataset, kind, partitions, columns, rows)

-- :name rows
-- Inserted, deleted or existing rows.
SELECT {names}, NULL::text[] AS columns, count(*) AS rows
FROM (SELECT {buckets} FROM {rows} AS r) AS bucketed
GROUP BY {names};

-- :name pairs
-- Pairs of old and new rows. `*<>` compares stored images, so it works for every type, and an equal
-- pair is unchanged. Changed columns are reported only for rows that stay in their partition (a row
-- that moves changes all columns of both), and only while the table has the columns it had when it
-- was attached. Virtual columns are not visible to triggers, so they may change with any column.
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
) AS side (is_present, {names}, rows)
WHERE side.is_present;

-- :name paired_by_key
old_rows AS o FULL JOIN new_rows AS n ON {same_key};

-- :name images
-- Rows, their buckets and their stored images, without the columns: pairs of rows with more than 830
-- columns do not fit into one row of a join, and their changed columns are unknown.
SELECT side.*, NULL::text[] AS columns
FROM (
    SELECT o.is_present IS NOT NULL AS was, n.is_present IS NOT NULL AS stays, {old_names}, {new_names},
        count(*) AS rows
    FROM {pairing}
    WHERE (o.image *<> n.image) IS NOT FALSE
    GROUP BY was, stays, {old_names}, {new_names}
) AS moved
CROSS JOIN LATERAL (VALUES
    (was, {old_names}, CASE WHEN stays THEN 0 ELSE moved.rows END),
    (stays, {new_names}, moved.rows)
) AS side (is_present, {names}, rows)
WHERE side.is_present;

-- :name images_by_key
(SELECT true AS is_present, r AS image, {old_buckets}, {key} FROM old_rows AS r) AS o
FULL JOIN (SELECT true AS is_present, r AS image, {new_buckets}, {key} FROM new_rows AS r) AS n ON {same_key};

-- :name images_by_text
-- Without a primary key, only unchanged rows are paired, and duplicates are numbered. The text of a
-- record comes from the output functions of its types, never from casts of the table's owner.
(SELECT true AS is_present, r AS image, {old_buckets}, (r.*)::text COLLATE "C" AS content,
    row_number() OVER (PARTITION BY (r.*)::text COLLATE "C") AS number FROM old_rows AS r) AS o
FULL JOIN
(SELECT true AS is_present, r AS image, {new_buckets}, (r.*)::text COLLATE "C" AS content,
    row_number() OVER (PARTITION BY (r.*)::text COLLATE "C") AS number FROM new_rows AS r) AS n
ON o.content = n.content AND o.number = n.number;

-- :name truncated
INSERT INTO knockon_source.changes (org, source, dataset, kind)
VALUES ({org}, {source}, {dataset}, {kind});

-- :name types
-- The expressions were generated for columns of these domains. For another type they would use other
-- operators and casts, possibly defined by the table's owner, with the capture role's privileges. So
-- the types are compared before any expression on the rows is planned.
IF (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = TG_RELID AND ({types}))
    <> {count} THEN
    RAISE EXCEPTION 'a column has another type than when the table was attached';
END IF;

-- :name typed
-- The same check for PostgreSQL's types: another type is an error when the statement is planned.
knockon_source.typed({value}, NULL::{type});

-- :name type
a.attname = {column} AND a.atttypid = {type};

-- :name body
-- Errors in the trigger never fail the writer: the change is logged as one of the entire dataset.
-- Nor can the commit fail because of a full NOTIFY queue: the trigger does not notify once the queue
-- is half full. A transaction that has run NOTIFY cannot be prepared, so if prepared transactions
-- are enabled, the log is only polled.
BEGIN
    {types}
    {log};
    IF FOUND AND pg_notification_queue_usage() < 0.5
        AND current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_notify('knockon_changes', '');
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'knockon logs all of % as changed, attach it again: %', {dataset}, SQLERRM;
    BEGIN
        INSERT INTO knockon_source.changes (org, source, dataset, kind)
        VALUES ({org}, {source}, {dataset}, {kind});
        IF pg_notification_queue_usage() < 0.5
            AND current_setting('max_prepared_transactions') = '0' THEN
            PERFORM pg_notify('knockon_changes', '');
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'knockon did not log a change of %, announce it: %', {dataset}, SQLERRM;
    END;
    RETURN NULL;
END;

-- :name function
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET extra_float_digits = 1
SET intervalstyle = 'postgres'
SET bytea_output = 'hex'
SET quote_all_identifiers = off
SET standard_conforming_strings = on
SET array_nulls = on
AS {body};
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {function}() TO {me};

-- :name trigger
-- ALWAYS, because bulk loads and replication set session_replication_role.
CREATE OR REPLACE TRIGGER {trigger} AFTER {event} ON {table} {referencing}
FOR EACH STATEMENT EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger};

-- :name drop_trigger
DROP TRIGGER IF EXISTS {trigger} ON {table};

-- :name drop_function
DROP FUNCTION IF EXISTS {function}();

-- :name lock
LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;

-- :name reader
-- A function that reads a table with the privileges of its owner, because planning a query evaluates
-- expressions of indexes, statistics, constraints and partition keys, which may call functions of the
-- owner. The body is bound to the table when the function is created, so renaming a view with code of
-- another role to the table's name has no effect.
CREATE FUNCTION {function}() RETURNS TABLE (
    of_org uuid, from_source text, of_dataset text, of_kind text, in_partitions text[],
    in_columns text[], of_rows bigint)
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
SET extra_float_digits = 1
SET intervalstyle = 'postgres'
SET bytea_output = 'hex'
SET quote_all_identifiers = off
SET standard_conforming_strings = on
SET array_nulls = on
SET row_security = off
BEGIN ATOMIC
    {query};
END;

-- :name bound
-- The table that the function reads, with its owner and the types of its columns.
SELECT c.oid, c.relkind IN ('r', 'p') AS is_table, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
    ARRAY(SELECT a.atttypid FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname = ANY (%(columns)s)
          ORDER BY array_position(%(columns)s::name[], a.attname)) AS types
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
WHERE d.classid = 'pg_proc'::regclass
    AND d.objid = pg_catalog.to_regprocedure(%(function)s)
    AND d.refclassid = 'pg_class'::regclass
    AND c.relnamespace <> 'knockon_source'::regnamespace
GROUP BY c.oid, c.relkind, c.relowner;

-- :name hand_over
-- The owner may create objects only within this transaction, which is rolled back.
GRANT USAGE, CREATE ON SCHEMA knockon_source TO {owner};
GRANT SELECT ON knockon_source.repeats TO {owner};
ALTER FUNCTION {function}() OWNER TO {owner};

-- :name read
SELECT r.* FROM {function}() AS r;

-- :name prepared_statements
-- A rollback does not remove prepared statements, which could replace those of the driver.
SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) AS are_left;

-- :name insert_announced
INSERT INTO knockon_source.changes (org, source, dataset, kind, partitions, columns, rows)
VALUES (%s, %s, %s, %s, %s, %s, %s);

-- :name notify
SELECT pg_catalog.pg_notify('knockon_changes', '');
