-- What the source's catalog says of a table.

-- :name relation
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind IN ('r', 'p') AS is_table,
    c.relnatts AS width
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass(%(table)s);

-- :name columns
-- `is_key`: part of the primary key. `has_equality`: `=` is found for it whatever the search path.
SELECT a.attname AS name,
    coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text AS type,
    a.attgenerated = 'v' AS is_virtual,
    coalesce(a.attnum = ANY (i.indkey), false) AS is_key,
    t.typnamespace = 'pg_catalog'::regnamespace OR t.typtype = 'e' AS has_equality
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum;

-- :name functions
-- The functions behind a table's triggers of these names.
SELECT DISTINCT p.proname AS name
FROM pg_trigger t
JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = %(oid)s AND t.tgname = ANY (%(triggers)s);
