-- Tables in the source's catalog.

-- :name resolve
-- The only statement that uses the session's search path, to find a table by the user's name for it.
SELECT pg_catalog.to_regclass(%(table)s::pg_catalog.text)::pg_catalog.oid AS oid;

-- :name parse
SELECT pg_catalog.parse_ident(%(table)s::pg_catalog.text) AS parts;

-- :name relation
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind IN ('r', 'p') AS is_table,
    c.relnatts AS width
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %(oid)s;

-- :name columns
-- `is_key`: part of the primary key. `is_domain`: the type is a domain. `is_builtin`: the type, or the
-- base type of the domain, belongs to PostgreSQL, so that other roles cannot define casts for it.
SELECT a.attname AS name,
    coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text AS type,
    a.atttypid AS type_oid,
    a.attgenerated = 'v' AS is_virtual,
    coalesce(a.attnum = ANY (i.indkey), false) AS is_key,
    b.typnamespace = 'pg_catalog'::regnamespace AS is_builtin,
    t.typtype = 'd' AS is_domain
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum;

-- :name parts
-- Partitions and inheritance children at any depth. A statement on one of them fires only its own
-- triggers. Foreign tables are excluded, because they cannot have such triggers.
WITH RECURSIVE part AS (
    SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent = %(oid)s
    UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN part ON part.oid = i.inhparent
)
SELECT c.oid, n.nspname AS schema, c.relname AS name
FROM part
JOIN pg_class c ON c.oid = part.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
ORDER BY c.oid;

-- :name triggered
-- Relations with a trigger that calls one of some functions in `knockon_source`.
SELECT DISTINCT c.oid, n.nspname AS schema, c.relname AS name, t.tgname AS trigger
FROM pg_trigger t
JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = to_regnamespace('knockon_source')
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.proname = ANY (%(functions)s);

-- :name functions
-- Functions in `knockon_source` by name; with an owner, only those that another role owns.
SELECT p.proname AS name FROM pg_proc p
WHERE p.pronamespace = to_regnamespace('knockon_source') AND p.proname = ANY (%(functions)s)
    AND pg_get_userbyid(p.proowner) IS DISTINCT FROM %(owner)s::text;
