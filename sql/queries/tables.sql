-- :name session
-- For the rest of the transaction: the zone in which dates are meant, and how long is too long.
SELECT set_config('timezone', %(zone)s, true), set_config('statement_timeout', %(timeout)s, true)

-- :name describe
-- The tables and views that these names mean, as far as they exist, with their columns in order.
-- Looked up in the catalog as the statement sees it: to_regclass answers from a cache that does not
-- know yet what another transaction has just made.
SELECT DISTINCT ON (r.name) r.name, n.nspname AS schema, c.relname AS table,
       obj_description(c.oid, 'pg_class') AS comment,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum) AS columns,
       ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum) AS types
FROM unnest(%(names)s::text[]) AS r(name)
CROSS JOIN LATERAL (SELECT parse_ident(r.name) AS parts) AS p
JOIN pg_class c ON c.relname = p.parts[cardinality(p.parts)]
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_namespace n ON n.oid = c.relnamespace
    AND n.nspname = ANY (CASE WHEN cardinality(p.parts) = 1 THEN current_schemas(false)::text[]
                              WHEN p.parts[1] = 'pg_temp'
                              THEN ARRAY[pg_my_temp_schema()::regnamespace::text]
                              ELSE p.parts[1:1] END)
ORDER BY r.name, array_position(current_schemas(false)::text[], n.nspname::text)

-- :name read_by_probe
-- The relations that the probe names, other than the views that stand for the job's inputs.
SELECT DISTINCT d.refobjid::regclass::text AS name
FROM pg_rewrite r
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid
WHERE r.ev_class = 'pg_temp.knockon_probe'::regclass AND c.relnamespace <> pg_my_temp_schema()
ORDER BY 1

-- :name lock
-- One at a time makes a table or a schema; the rest find it made.
SELECT pg_advisory_xact_lock(hashtextextended('knockon.table ' || %(key)s, 0))
