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

-- :name images
-- Rows, their buckets and their stored images, without the columns: pairs of rows with more than 830
-- columns do not fit into one row of a join, and their changed columns are unknown.
SELECT side.*, NULL::text[] AS columns
FROM (
    SELECT o.is_there IS NOT NULL AS was, n.is_there IS NOT NULL AS stays, {old_names}, {new_names},
        count(*) AS rows
    FROM {pairing}
    WHERE (o.image *<> n.image) IS NOT FALSE
    GROUP BY was, stays, {old_names}, {new_names}
) AS moved
CROSS JOIN LATERAL (VALUES
    (was, {old_names}, CASE WHEN stays THEN 0 ELSE moved.rows END),
    (stays, {new_names}, moved.rows)
) AS side (there, {names}, rows)
WHERE side.there;

-- :name images_by_key
(SELECT true AS is_there, r AS image, {old_buckets}, {key} FROM old_rows AS r) AS o
FULL JOIN (SELECT true AS is_there, r AS image, {new_buckets}, {key} FROM new_rows AS r) AS n ON {same_key};

-- :name images_by_text
-- Without a primary key only unchanged rows are paired, duplicates by their number. A record's text
-- comes from the output functions of its types, never from a cast that the table's owner defined.
(SELECT true AS is_there, r AS image, {old_buckets}, (r.*)::text COLLATE "C" AS content,
    row_number() OVER (PARTITION BY (r.*)::text COLLATE "C") AS number FROM old_rows AS r) AS o
FULL JOIN
(SELECT true AS is_there, r AS image, {new_buckets}, (r.*)::text COLLATE "C" AS content,
    row_number() OVER (PARTITION BY (r.*)::text COLLATE "C") AS number FROM new_rows AS r) AS n
ON o.content = n.content AND o.number = n.number;

-- :name truncated
INSERT INTO knockon_source.changes (org, source, dataset, kind)
VALUES ({org}, {source}, {dataset}, {kind});

-- :name types
-- The statement below was written for columns of these domains. With another type its operators and
-- casts would be others, possibly defined by the table's owner, and run with the capture role's
-- rights; so the types are compared before any expression on the rows is planned.
IF (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = TG_RELID AND ({types}))
    <> {count} THEN
    RAISE EXCEPTION 'a column has another type than when the table was attached';
END IF;

-- :name typed
-- The same for types of PostgreSQL: another type is an error when the statement is planned.
knockon_source.typed({value}, NULL::{type});

-- :name type
a.attname = {column} AND a.atttypid = {type};

-- :name body
-- The writer never fails because of Knockon: a change that cannot be placed is logged as one of the
-- whole dataset. Nor does the commit fail, as it would with a full NOTIFY queue: half of the queue is
-- left to others. A transaction that has run NOTIFY cannot be prepared, so where prepared
-- transactions are possible, the log is only polled.
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
-- ALWAYS: bulk loads and replication set session_replication_role, and are changes all the same.
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
-- Reads a table with the rights of its owner. Planning a query evaluates expressions of the table's
-- indexes, statistics, constraints and partition key, in which the owner may call functions of his own.
-- The body is bound to the table when the function is created, so a name that is moved later, to a view
-- that runs code of its owner, makes no difference.
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
-- Only within this transaction, which is rolled back, may the owner create anything.
GRANT USAGE, CREATE ON SCHEMA knockon_source TO {owner};
GRANT SELECT ON knockon_source.repeats TO {owner};
ALTER FUNCTION {function}() OWNER TO {owner};

-- :name read
SELECT r.* FROM {function}() AS r;

-- :name leftovers
-- No rollback removes prepared statements, which could be taken for those of the driver.
SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) AS are_left;

-- :name found
INSERT INTO knockon_source.changes (org, source, dataset, kind, partitions, columns, rows)
VALUES (%s, %s, %s, %s, %s, %s, %s);

-- :name ring
SELECT pg_catalog.pg_notify('knockon_changes', '');
