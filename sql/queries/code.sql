-- :name named
-- Functions, operators and views that a text may refer to by these names: an unqualified name is
-- one in public, or in the schema of the function that contains the text. Objects of PostgreSQL
-- itself or of an extension are left out, because they change with their versions.
SELECT DISTINCT 'pg_proc' AS catalog, p.oid
FROM unnest(%(schemas)s::text[], %(names)s::text[], %(homes)s::text[]) AS r(schema, name, home)
JOIN pg_proc p ON p.proname = r.name AND p.oid >= 16384
JOIN pg_namespace n ON n.oid = p.pronamespace
    AND (n.nspname = r.schema OR r.schema IS NULL AND n.nspname IN ('public', r.home))
WHERE NOT EXISTS (SELECT FROM pg_depend e
                  WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
UNION ALL
SELECT DISTINCT 'pg_operator', o.oid
FROM unnest(%(operators)s::text[]) AS r(name)
JOIN pg_operator o ON o.oprname = r.name AND o.oid >= 16384
WHERE NOT EXISTS (SELECT FROM pg_depend e
                  WHERE e.classid = 'pg_operator'::regclass AND e.objid = o.oid AND e.deptype = 'e')
UNION ALL
SELECT DISTINCT 'pg_class', c.oid
FROM unnest(%(view_schemas)s::text[], %(views)s::text[], %(view_homes)s::text[])
    AS r(schema, name, home)
JOIN pg_class c ON c.relname = r.name AND c.relkind IN ('v', 'm') AND c.oid >= 16384
JOIN pg_namespace n ON n.oid = c.relnamespace
    AND (n.nspname = r.schema OR r.schema IS NULL AND n.nspname IN ('public', r.home))
WHERE NOT EXISTS (SELECT FROM pg_depend e
                  WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')

-- :name plain_path
-- Qualify all names in definitions for the rest of the transaction.
SELECT set_config('search_path', 'pg_catalog, pg_temp', true)

-- :name definitions
-- The definitions of objects as texts that differ only if the behavior differs, and the bodies that
-- may contain further names.
SELECT u.catalog, u.oid, 'function ' || p.oid::regprocedure::text AS name,
       concat_ws(chr(31), l.lanname, p.prokind, p.provolatile, p.proisstrict,
                 pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.prosrc,
                 p.probin, p.proconfig::text, pg_get_function_sqlbody(p.oid),
                 a.aggtransfn::text, a.aggfinalfn::text, a.agginitval) AS definition,
       CASE WHEN l.lanname IN ('sql', 'plpgsql') THEN p.prosrc ELSE '' END AS body,
       n.nspname::text AS home
FROM unnest(%(classes)s::text[], %(oids)s::oid[]) AS u(catalog, oid)
JOIN pg_proc p ON u.catalog = 'pg_proc' AND p.oid = u.oid
JOIN pg_namespace n ON n.oid = p.pronamespace
JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
UNION ALL
SELECT u.catalog, u.oid, 'operator ' || o.oid::regoperator::text, o.oprcode::text, '', ''
FROM unnest(%(classes)s::text[], %(oids)s::oid[]) AS u(catalog, oid)
JOIN pg_operator o ON u.catalog = 'pg_operator' AND o.oid = u.oid
UNION ALL
SELECT u.catalog, u.oid, 'view ' || c.oid::regclass::text, pg_get_viewdef(c.oid), '', ''
FROM unnest(%(classes)s::text[], %(oids)s::oid[]) AS u(catalog, oid)
JOIN pg_class c ON u.catalog = 'pg_class' AND c.oid = u.oid

-- :name depends
-- Functions, operators and views on which these objects depend according to the catalog.
SELECT DISTINCT r.catalog, d.refobjid AS oid
FROM unnest(%(classes)s::text[], %(oids)s::oid[]) AS u(catalog, oid)
CROSS JOIN LATERAL (
    SELECT u.catalog::regclass AS classid, u.oid AS objid
    UNION ALL
    SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w
    WHERE u.catalog = 'pg_class' AND w.ev_class = u.oid) AS o
JOIN pg_depend d ON d.classid = o.classid AND d.objid = o.objid AND d.refobjid >= 16384
JOIN (VALUES ('pg_proc'), ('pg_operator'), ('pg_class')) AS r(catalog)
    ON d.refclassid = r.catalog::regclass
LEFT JOIN pg_class c ON r.catalog = 'pg_class' AND c.oid = d.refobjid
WHERE (r.catalog <> 'pg_class' OR c.relkind IN ('v', 'm'))
    AND NOT EXISTS (SELECT FROM pg_depend e
                    WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e')
