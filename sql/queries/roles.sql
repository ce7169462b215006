-- :name database
-- The name that distinguishes roles from those of other databases: that of this database, or of the
-- one it was renamed or copied from since the creation of its roles.
SELECT coalesce((
    SELECT substr(pg_get_userbyid(nspowner), length('knockon_owner_') + 1) FROM pg_namespace
    WHERE nspname = 'knockon' AND starts_with(pg_get_userbyid(nspowner), 'knockon_owner_')
), current_database())::text AS name, current_database()::text AS current,
    current_user::text AS member

-- :name existing
-- Existing roles of these names, and whether each is as Knockon would create it: without login,
-- without any attribute beyond the row-level bypass, and member of no other role.
SELECT r.rolname::text AS name,
       NOT (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication)
           AND NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid) AS is_plain
FROM pg_roles r WHERE r.rolname = ANY(%(names)s::text[])

-- :name lock
-- Serialize the creation of roles.
SELECT pg_advisory_xact_lock(hashtextextended('knockon.roles', 0))

-- :name relations
-- Relations in Knockon's schema that do not belong to its owner; indexes follow their tables.
SELECT c.relname::text AS name FROM pg_class c
WHERE c.relnamespace = 'knockon'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
  AND c.relowner IS DISTINCT FROM to_regrole(quote_ident(%(owner)s::text))::oid
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')
                  AND d.classid = 'pg_class'::regclass AND c.relkind = 'S')
ORDER BY c.oid

-- :name functions
-- Knockon's functions that do not belong to its owner, except for those that run as an org.
SELECT p.oid::regprocedure::text AS signature FROM pg_proc p
WHERE p.pronamespace = 'knockon'::regnamespace
  AND NOT (p.prosecdef AND starts_with(p.proname, 'run_as_'))
  AND p.proowner IS DISTINCT FROM to_regrole(quote_ident(%(owner)s::text))::oid
ORDER BY p.oid

-- :name unprotected
-- Tables with data of orgs that lack a policy as Knockon creates it, or its enforcement, with the column
-- of the org. The months of a history have no policies.
SELECT c.name, c.is_month, c.column
FROM (SELECT oid, relname::text AS name, relispartition AS is_month,
          relrowsecurity AND relforcerowsecurity AS is_enforced,
          CASE relname WHEN 'orgs' THEN 'id' ELSE 'org_id' END AS column
      FROM pg_class WHERE relnamespace = 'knockon'::regnamespace AND relkind IN ('r', 'p')) AS c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = c.column AND NOT a.attisdropped
LEFT JOIN LATERAL (
    SELECT count(*) AS policies FROM pg_policy p
    WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd = '*' AND p.polwithcheck IS NULL
      AND CASE p.polname
          WHEN 'org' THEN p.polroles = '{0}' AND replace(pg_get_expr(p.polqual, c.oid), 'knockon.', '')
              = format('(%%I = current_org())', c.column)
          WHEN 'engine' THEN p.polroles = ARRAY[to_regrole(quote_ident(%(engine)s::text))::oid]
              AND pg_get_expr(p.polqual, c.oid) = 'true' END) AS p ON true
WHERE NOT (c.is_enforced AND (c.is_month OR p.policies = 2))
ORDER BY c.oid

-- :name foreign_policies
-- Policies that are not Knockon's, which might show rows of other orgs.
SELECT c.relname::text AS table, p.polname::text AS name
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE c.relnamespace = 'knockon'::regnamespace
  AND (c.relispartition OR p.polname NOT IN ('org', 'engine'))
ORDER BY c.oid, p.polname

-- :name membership
-- A role, if the user of the session is a member.
SELECT r.rolname::text AS role FROM pg_roles r
WHERE r.rolname = %(role)s AND pg_has_role(session_user, r.oid, 'MEMBER')

-- :name confinement
-- Whether policies confine the role of the session to one org: those of the engine admit its members.
SELECT row_security_active('knockon.tasks') AND NOT EXISTS (
    SELECT FROM pg_policy p, unnest(p.polroles) AS r(role)
    WHERE p.polname = 'engine' AND p.polrelid = 'knockon.tasks'::regclass
      AND pg_has_role(current_user, r.role, 'USAGE')) AS is_active

-- :name row_security
-- Whether policies restrict the role of the session.
SELECT row_security_active('knockon.tasks') AS is_active

-- :name ungranted
-- Relations for which the engine's or the service's role has other privileges than it needs, with the
-- statement that grants those of the service. Neither needs any on the months of a history. The service
-- only reads the migrations, changes no record of a change, and of an org only settings and epoch.
SELECT c.name, c.statement,
    NOT c.is_month AND (
        concat(CASE WHEN has_table_privilege(s.role, c.oid, 'INSERT') THEN 'a' END,
               CASE WHEN has_table_privilege(s.role, c.oid, 'SELECT') THEN 'r' END,
               CASE WHEN has_table_privilege(s.role, c.oid, 'UPDATE') THEN 'w' END,
               CASE WHEN has_table_privilege(s.role, c.oid, 'DELETE') THEN 'd' END)
            <> CASE c.statement WHEN 'service_table' THEN 'arwd' WHEN 'service_log' THEN 'ar' ELSE 'r' END
        OR c.statement = 'service_org'
            AND NOT coalesce(has_column_privilege(s.role, c.oid, 'settings', 'UPDATE'), false)
    ) AS lacks_service,
    NOT c.is_month
        AND NOT coalesce(has_table_privilege(e.role, c.oid, 'DELETE'), false) AS lacks_engine
FROM (SELECT oid, relname::text AS name, relispartition AS is_month,
          CASE WHEN relkind = 'v' OR relname = 'migrations' THEN 'service_view'
               WHEN relname = 'access_changes' THEN 'service_log'
               WHEN relname = 'orgs' THEN 'service_org'
               ELSE 'service_table' END AS statement
      FROM pg_class WHERE relnamespace = 'knockon'::regnamespace AND relkind IN ('r', 'p', 'v')) AS c,
    (SELECT to_regrole(quote_ident(%(engine)s::text))::oid AS role) AS e,
    (SELECT to_regrole(quote_ident(%(service)s::text))::oid AS role) AS s
ORDER BY c.oid

-- :name orgs
-- All orgs, with the role that each one's function runs as, if any. A function of any other role
-- does not count, because it would run jobs with that role's rights. Neither does one whose role
-- can access, and so alter, the function.
SELECT o.id, o.slug, r.rolname::text AS role
FROM knockon.orgs o
LEFT JOIN pg_proc p ON p.pronamespace = 'knockon'::regnamespace AND p.prosecdef
    AND p.proname = 'run_as_' || replace(o.id::text, '-', '')
LEFT JOIN pg_roles r ON r.oid = p.proowner
    AND starts_with(r.rolname, 'knockon_jobs_')
    AND NOT (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolbypassrls)
    AND NOT has_schema_privilege(r.oid, 'knockon', 'USAGE')
    AND NOT has_schema_privilege(r.oid, 'knockon', 'CREATE')
WHERE %(slug)s::text IS NULL OR o.slug = %(slug)s
ORDER BY o.slug

-- :name sql_jobs
-- The number of deployed SQL jobs of all orgs.
SELECT count(*) AS jobs
FROM knockon.dag_current_versions c
JOIN knockon.jobs j ON j.org_id = c.org_id AND j.dag_version_id = c.dag_version_id
WHERE j.operator = 'sql'

-- :name marked
-- Tables created by Knockon for datasets of an org that do not belong to its role yet. A comment
-- alone is no proof, because every owner of a table can write one: the owner must be a user of
-- Knockon.
SELECT n.nspname::text AS schema, c.relname::text AS name
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_description m ON m.classoid = 'pg_class'::regclass AND m.objoid = c.oid AND m.objsubid = 0
    AND starts_with(m.description, 'knockon:')
JOIN knockon.datasets d ON d.id::text = split_part(m.description, ':', 2)
WHERE c.relkind = 'r' AND d.org_id = %(org_id)s
  AND c.relowner IS DISTINCT FROM to_regrole(quote_ident(%(role)s::text))::oid
  AND (pg_get_userbyid(c.relowner) = current_user OR coalesce(
      pg_has_role(c.relowner, to_regrole(quote_ident(%(engine)s::text))::oid, 'MEMBER'), false))
ORDER BY 1, 2

-- :name rights
-- The slug of an org, and whether its role is granted the tables named by its DAG files.
SELECT o.slug, o.settings ->> 'grants' = 'dag_files' AS is_given_named_tables
FROM knockon.orgs o WHERE o.id = %(org_id)s

-- :name lacking
-- Tables and schemas, by quoted name, for which a role lacks a right, with the right.
SELECT w.name, w.access
FROM unnest(%(names)s::text[], %(accesses)s::text[]) AS w(name, access)
CROSS JOIN LATERAL (SELECT parse_ident(w.name) AS parts) AS p
LEFT JOIN pg_namespace n ON n.nspname = p.parts[1]
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.parts[2]
WHERE CASE w.access
    WHEN 'create' THEN n.oid IS NULL OR NOT has_schema_privilege(%(role)s::text, n.oid, 'CREATE')
        OR NOT has_schema_privilege(%(role)s::text, n.oid, 'USAGE')
    WHEN 'read' THEN c.oid IS NOT NULL AND NOT (
        has_schema_privilege(%(role)s::text, n.oid, 'USAGE')
        AND has_table_privilege(%(role)s::text, c.oid, 'SELECT'))
    ELSE c.oid IS NOT NULL AND NOT (
        has_schema_privilege(%(role)s::text, n.oid, 'USAGE')
        AND has_table_privilege(%(role)s::text, c.oid, 'SELECT')
        AND has_table_privilege(%(role)s::text, c.oid, 'INSERT')
        AND has_table_privilege(%(role)s::text, c.oid, 'UPDATE')
        AND has_table_privilege(%(role)s::text, c.oid, 'DELETE')) END

-- :name remaining
-- Ways in which a role still has one of these privileges to a table (or, without a table's name, to
-- a schema) that no REVOKE ends.
WITH object AS (
    SELECT c.relowner AS owner, c.relacl AS acl, c.oid AS relation
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(table_name)s
        AND has_schema_privilege(%(role)s::text, n.oid, 'USAGE')
    UNION ALL
    SELECT n.nspowner, n.nspacl, NULL FROM pg_namespace n
    WHERE n.nspname = %(schema)s AND %(table_name)s::text IS NULL
), granted AS (
    SELECT a.* FROM object o, aclexplode(o.acl) a
    UNION
    SELECT a.* FROM object o JOIN pg_attribute t ON t.attrelid = o.relation AND NOT t.attisdropped,
        aclexplode(t.attacl) a
)
SELECT CASE WHEN owner = to_regrole(quote_ident(%(role)s::text)) THEN 'its role' ELSE quote_ident(pg_get_userbyid(owner)) END
    || ' owns it' AS reason
FROM object WHERE pg_has_role(%(role)s::text, owner, 'USAGE')
UNION
SELECT CASE
    WHEN grantee = 0 THEN 'PUBLIC has ' || privilege_type
    WHEN grantee = to_regrole(quote_ident(%(role)s::text))
        THEN quote_ident(pg_get_userbyid(grantor)) || ' has granted ' || privilege_type
    ELSE quote_ident(pg_get_userbyid(grantee)) || ', of which its role is a member, has ' || privilege_type
    END
FROM granted
WHERE privilege_type = ANY(%(privileges)s::text[]) AND CASE
    WHEN grantee = 0 THEN true ELSE pg_has_role(%(role)s::text, grantee, 'USAGE') END
ORDER BY 1
