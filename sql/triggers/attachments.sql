-- Attachments: the captured tables with their org, dataset and shape at the time of attaching.

-- :name shape
-- The properties of a table that capture depends on. Catalog rows of triggers and functions include
-- the transaction that wrote them, which reveals a trigger that was disabled temporarily. No row if
-- the table does not exist.
SELECT jsonb_build_object(
    'columns', (
        SELECT jsonb_object_agg(a.attname, jsonb_build_array(
            a.attnum, a.atttypid::text, a.atttypmod, a.attcollation::text, a.attgenerated,
            CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END))
        FROM pg_attribute a
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'key', (SELECT i.indkey::text FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
    'parts', (
        WITH RECURSIVE part AS (
            SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent = c.oid
            UNION
            SELECT i.inhrelid FROM pg_inherits i JOIN part ON part.oid = i.inhparent)
        SELECT coalesce(jsonb_agg(part.oid::text ORDER BY part.oid), '[]') FROM part
        JOIN pg_class p ON p.oid = part.oid AND p.relkind IN ('r', 'p')),
    'triggers', (
        WITH RECURSIVE part AS (
            SELECT c.oid AS oid
            UNION
            SELECT i.inhrelid FROM pg_inherits i JOIN part ON part.oid = i.inhparent)
        SELECT jsonb_object_agg(concat_ws(' ', t.tgrelid, t.tgname),
            jsonb_build_array(t.tgenabled, t.xmin::text, p.oid::text, p.xmin::text))
        FROM part
        JOIN pg_trigger t ON t.tgrelid = part.oid AND t.tgname = ANY (%(triggers)s)
        JOIN pg_proc p ON p.oid = t.tgfoid),
    'can_log', (
        SELECT bool_and(
            has_column_privilege(p.proowner, 'knockon_source.changes', 'dataset', 'INSERT')
            AND has_schema_privilege(p.proowner, 'knockon_source', 'USAGE'))
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = c.oid AND t.tgname = ANY (%(triggers)s))
)::text AS shape
FROM pg_class c
WHERE c.oid = %(relation)s;

-- :name stored
-- The attachments of an org; `named` is the relation that currently has the table's name.
SELECT a.org::text, a.dataset, a.relation, a.schema_name, a.table_name, a.partitioning, a.columns,
    a.shape, a.unannounced,
    to_regclass(format('%%I.%%I', a.schema_name, a.table_name))::oid AS named,
    (SELECT format('%%I.%%I', n.nspname, c.relname)
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.oid = a.relation) AS current_name,
    (SELECT c.relkind IN ('r', 'p') FROM pg_class c
     WHERE c.oid = to_regclass(format('%%I.%%I', a.schema_name, a.table_name))) AS is_table
FROM knockon_source.attachments a
WHERE a.org = %(org)s::uuid
ORDER BY a.dataset, a.schema_name, a.table_name;

-- :name remove
DELETE FROM knockon_source.attachments
WHERE org = %(org)s::uuid AND dataset = %(dataset)s AND relation = %(relation)s;

-- :name add
INSERT INTO knockon_source.attachments
    (org, dataset, relation, schema_name, table_name, partitioning, columns, shape, unannounced)
VALUES (%(org)s::uuid, %(dataset)s, %(relation)s, %(schema)s, %(name)s, %(partitioning)s,
    %(columns)s, %(shape)s, %(unannounced)s::oid[]);

-- :name announced
UPDATE knockon_source.attachments
SET unannounced = ARRAY(SELECT unnest(unannounced) EXCEPT SELECT unnest(%(parts)s::oid[]))
WHERE org = %(org)s::uuid AND dataset = %(dataset)s AND relation = %(relation)s;

-- :name widen
-- Log a change that no trigger has captured: of some columns, or of all.
INSERT INTO knockon_source.changes (org, source, dataset, kind, columns)
VALUES (%(org)s::uuid, %(source)s, %(dataset)s, 'altered', %(columns)s::text[]);

-- :name expect
-- Keep the log for the org's consumer from now on, even if it has not started yet. A row of another
-- org with the same consumer name is replaced.
INSERT INTO knockon_source.readers AS r (consumer, position, updated_at, org)
VALUES (%(consumer)s, json_build_object('seen', pg_current_snapshot()::text)::text,
    clock_timestamp(), %(org)s::uuid)
ON CONFLICT (consumer) DO UPDATE
SET org = excluded.org,
    position = CASE WHEN r.org <> excluded.org THEN excluded.position ELSE r.position END;

-- :name legacy
-- The functions of an earlier version, which did not separate orgs; their comment is the dataset.
-- `has_others`: other orgs may depend on them.
SELECT p.proname AS name, obj_description(p.oid, 'pg_proc') AS dataset,
    EXISTS (SELECT FROM knockon_source.readers WHERE consumer <> %(consumer)s) AS has_others
FROM pg_proc p
WHERE p.pronamespace = 'knockon_source'::regnamespace
    AND obj_description(p.oid, 'pg_proc') IS NOT NULL
ORDER BY 1;
