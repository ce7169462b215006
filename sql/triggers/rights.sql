-- Privileges in a source database: ownership of the change log, and the capture role.
--
-- Code of another role must never run within a writer's statement. A trigger on the log could run
-- such code, with the writer's privileges if it is deferred, and so could a replaced trigger function.
-- Therefore all objects in the schema belong to the attaching role, a role it is a member of, a
-- superuser, or (functions only) the capture role.

-- :name excessive
-- Objects in the schema and rights on it that would let another role run code or lock the log
-- (MAINTAIN). A foreign key to the log fires triggers of the referencing table when rows are deleted.
-- A superuser is a member of every role, but need not trust them all. `trusts_owner`: the owner of the
-- schema is trusted, as for a role that only reads the log.
WITH me AS (
    SELECT oid, rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user
), trusted AS (
    SELECT r.oid FROM pg_catalog.pg_roles r, me
    WHERE r.rolsuper OR r.oid = me.oid
        OR (NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER'))
        OR (%(trusts_owner)s::bool AND r.oid = (
            SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'knockon_source'))
), space AS (
    SELECT oid, nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname = 'knockon_source'
), logs AS (
    SELECT c.oid, c.relacl, c.relname, c.relowner, c.relkind
    FROM pg_catalog.pg_class c JOIN space s ON s.oid = c.relnamespace
), owned AS (
    SELECT 'schema knockon_source' AS object, nspowner AS owner FROM space
    UNION ALL
    SELECT 'knockon_source.' || relname, relowner FROM logs
    UNION ALL
    SELECT 'type knockon_source.' || t.typname, t.typowner
    FROM pg_catalog.pg_type t JOIN space s ON s.oid = t.typnamespace
    WHERE t.typrelid = 0 AND t.typelem = 0
    UNION ALL
    SELECT 'operator knockon_source.' || o.oprname, o.oprowner
    FROM pg_catalog.pg_operator o JOIN space s ON s.oid = o.oprnamespace
    UNION ALL
    SELECT 'function knockon_source.' || p.proname, p.proowner
    FROM pg_catalog.pg_proc p JOIN space s ON s.oid = p.pronamespace
    WHERE p.proowner IS DISTINCT FROM (
        SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %(capture)s)
)
SELECT object || ' is owned by ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(owner))
    AS finding
FROM owned WHERE owner NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT a.privilege_type || ' on schema knockon_source is granted to '
    || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
FROM space, pg_catalog.aclexplode(space.nspacl) a
WHERE a.privilege_type = 'CREATE' AND a.grantee NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT a.privilege_type || ' on knockon_source.' || l.relname || ' is granted to '
    || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
FROM logs l
CROSS JOIN LATERAL (
    SELECT * FROM pg_catalog.aclexplode(l.relacl)
    UNION
    SELECT c.* FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) AS c
    WHERE t.attrelid = l.oid AND NOT t.attisdropped
) AS a
WHERE l.relkind IN ('r', 'p') AND a.privilege_type IN ('TRIGGER', 'REFERENCES', 'MAINTAIN')
    AND a.grantee NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT 'knockon_source.' || l.relname || ' is referenced by the foreign key ' || k.conname
    || ' of ' || k.conrelid::regclass::text
FROM pg_catalog.pg_constraint k JOIN logs l ON l.oid = k.confrelid
WHERE k.contype = 'f'
UNION ALL
SELECT 'knockon_source.' || l.relname || ' has the trigger ' || t.tgname
FROM pg_catalog.pg_trigger t JOIN logs l ON l.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT 'knockon_source.' || l.relname || ' has the rule ' || r.rulename
FROM pg_catalog.pg_rewrite r JOIN logs l ON l.oid = r.ev_class WHERE l.relkind <> 'v'
UNION ALL
SELECT 'knockon_source.' || l.relname || ' has the policy ' || p.polname
FROM pg_catalog.pg_policy p JOIN logs l ON l.oid = p.polrelid
UNION ALL
SELECT 'an expression of knockon_source.' || l.relname || ' uses '
    || pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
FROM logs l
JOIN (
    SELECT oid, adrelid AS relation, 'pg_catalog.pg_attrdef'::regclass AS class
    FROM pg_catalog.pg_attrdef
    UNION ALL
    SELECT oid, conrelid, 'pg_catalog.pg_constraint'::regclass FROM pg_catalog.pg_constraint
    UNION ALL
    SELECT indexrelid, indrelid, 'pg_catalog.pg_class'::regclass FROM pg_catalog.pg_index
) AS e ON e.relation = l.oid
JOIN pg_catalog.pg_depend d ON d.classid = e.class AND d.objid = e.oid
WHERE d.refclassid IN (
    'pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass,
    'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_opclass'::regclass)
ORDER BY 1;

-- :name capture
-- The capture role and its excessive privileges; no row if the role does not exist.
SELECT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') AS is_ours,
    pg_catalog.array_remove(ARRAY[
        CASE WHEN r.rolsuper THEN 'is a superuser' END,
        CASE WHEN r.rolcreaterole THEN 'may create roles' END,
        CASE WHEN r.rolcreatedb THEN 'may create databases' END,
        CASE WHEN r.rolreplication THEN 'may replicate' END,
        CASE WHEN r.rolbypassrls THEN 'bypasses row-level security' END,
        CASE WHEN r.rolcanlogin THEN 'may log in' END,
        (SELECT 'is a member of ' || pg_catalog.string_agg(m.roleid::regrole::text, ', ')
         FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid)
    ], NULL) AS excess
FROM pg_catalog.pg_roles r WHERE r.rolname = %(capture)s;

-- :name session
SELECT current_user AS name, current_database() AS database,
    current_setting('server_version_num')::int AS version,
    (SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user)
        AS may_create_roles,
    pg_catalog.to_regnamespace('knockon_source') IS NOT NULL
        OR pg_catalog.has_database_privilege(current_database(), 'CREATE') AS may_create_schema;

-- :name owner
-- The owner of the schema, and whether the current role may act as that role.
SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(nspowner)) AS owner,
    pg_catalog.pg_has_role(current_user, nspowner, 'USAGE') AS is_ours
FROM pg_catalog.pg_namespace WHERE nspname = 'knockon_source';

-- :name grant_create
GRANT CREATE ON DATABASE {database} TO {me};

-- :name create_role
CREATE ROLE {capture} NOLOGIN NOINHERIT;

-- :name join_role
GRANT {capture} TO {me};

-- :name join_role_to_set
-- Since PostgreSQL 16, a member can create functions as the role without inheriting its privileges.
GRANT {capture} TO {me} WITH INHERIT FALSE, SET TRUE;

-- :name grant
-- Revoke first, to remove earlier grants on these tables.
REVOKE ALL ON knockon_source.changes, knockon_source.readers, knockon_source.repeats,
    knockon_source.attachments FROM {capture};
GRANT USAGE ON SCHEMA knockon_source TO {capture};
GRANT INSERT (org, source, dataset, kind, partitions, columns, rows) ON knockon_source.changes
    TO {capture};
GRANT SELECT ON knockon_source.repeats TO {capture};

-- :name act_as_capture
-- The role may create objects only while its functions are being created.
GRANT CREATE ON SCHEMA knockon_source TO {capture};
SET LOCAL ROLE {capture};

-- :name act_as_me
SET LOCAL ROLE {me};
REVOKE CREATE ON SCHEMA knockon_source FROM {capture};
