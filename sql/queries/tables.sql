-- :name describe
-- The existing tables and views of these qualified names, with their columns in order; types are
-- qualified. A comment with Knockon's mark counts only if the table belongs to the role of the
-- dataset's org, because every owner can write comments. The catalog is read as of the statement:
-- to_regclass answers from a cache that may lack a table created by another transaction.
SELECT r.name, n.nspname AS schema, c.relname AS table,
       CASE WHEN NOT starts_with(m.comment, 'knockon:') OR EXISTS (
                SELECT FROM knockon.datasets d
                JOIN pg_proc f ON f.pronamespace = 'knockon'::regnamespace
                    AND f.proname = 'run_as_' || replace(d.org_id::text, '-', '')
                WHERE d.id::text = split_part(m.comment, ':', 2) AND f.proowner = c.relowner)
            THEN m.comment END AS comment, c.relkind::text AS kind,
       EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) OR EXISTS (
           SELECT FROM pg_trigger t
           JOIN pg_constraint k ON k.oid = t.tgconstraint AND k.confrelid = c.oid
           WHERE t.tgrelid = c.oid
               AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
       ) OR EXISTS (
           SELECT FROM pg_trigger t
           JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = to_regnamespace('knockon_source')
           WHERE t.tgrelid = c.oid
       ) AS has_relatives,
       (SELECT min(w.rulename)::text FROM pg_rewrite w
        WHERE w.ev_class = c.oid AND w.ev_type <> '1' AND w.ev_enabled <> 'D') AS rule,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum) AS columns,
       ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum) AS types
FROM (SELECT DISTINCT unnest(%(names)s::text[]) AS name) AS r
CROSS JOIN LATERAL (SELECT parse_ident(r.name) AS parts) AS p
JOIN pg_class c ON c.relname = p.parts[2] AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = p.parts[1]
CROSS JOIN LATERAL (SELECT obj_description(c.oid, 'pg_class') AS comment) AS m

-- :name lock
-- Serialize the creation of a table or schema; later transactions find it created.
SELECT pg_advisory_xact_lock(hashtextextended('knockon.table ' || %(key)s, 0))

-- :name reached_by_writes
-- The relations with rows changed by a write to one of these names: the relation, its partitions
-- and children, its ancestors, and with `via`, the tables whose foreign keys propagate a deletion
-- or an update. A foreign key to a partitioned table has a row for each partition. `captured`:
-- names in the capture triggers on the relation.
WITH RECURSIVE reached AS (
    SELECT r.name, c.oid, false AS is_above, NULL::name AS via
    FROM unnest(%(names)s::text[]) AS r(name)
    CROSS JOIN LATERAL (SELECT parse_ident(r.name) AS parts) AS p
    JOIN pg_class c ON c.relname = p.parts[2]
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = p.parts[1]
    UNION
    SELECT r.name, step.oid, step.is_above, coalesce(r.via, step.via)
    FROM reached r
    CROSS JOIN LATERAL (
        SELECT i.inhparent, true, NULL::name FROM pg_inherits i WHERE i.inhrelid = r.oid
        UNION ALL
        SELECT i.inhrelid, false, NULL FROM pg_inherits i
        WHERE i.inhparent = r.oid AND NOT r.is_above
        UNION ALL
        SELECT k.conrelid, false, k.conname FROM pg_constraint k
        WHERE k.contype = 'f' AND k.confrelid = r.oid AND NOT r.is_above
            AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
    ) AS step (oid, is_above, via)
)
SELECT DISTINCT ON (f.name, f.oid) f.name, n.nspname AS schema, c.relname AS table,
    n.nspname = 'public' AS is_visible, f.via::text AS via,
    ARRAY(SELECT DISTINCT substr(t.tgname::text, 9, 12)
          FROM pg_trigger t
          JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = to_regnamespace('knockon_source')
          WHERE t.tgrelid = f.oid AND starts_with(t.tgname::text, 'knockon_')) AS captured
FROM reached f
JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY f.name, f.oid, f.via NULLS FIRST

-- :name written
-- The tables that this transaction has written, or is about to write, by its locks, and the tables
-- that contain them. `defers`: a trigger may not have run yet.
WITH RECURSIVE written AS (
    SELECT l.relation AS oid FROM pg_locks l
    WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION
    SELECT i.inhparent FROM written w JOIN pg_inherits i ON i.inhrelid = w.oid
)
SELECT n.nspname AS schema, c.relname AS table, n.nspname = 'public' AS is_visible,
    EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgdeferrable) AS defers,
    ARRAY(SELECT DISTINCT substr(t.tgname::text, 9, 12)
          FROM pg_trigger t
          JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = to_regnamespace('knockon_source')
          WHERE t.tgrelid = c.oid AND starts_with(t.tgname::text, 'knockon_')) AS captured
FROM written w
JOIN pg_class c ON c.oid = w.oid AND c.relkind IN ('r', 'p', 'f')
JOIN pg_namespace n ON n.oid = c.relnamespace
    AND n.nspname NOT IN ('knockon', 'knockon_source') AND NOT starts_with(n.nspname, 'pg_')

-- :name locked
-- The relations that this transaction may have truncated, renamed, altered or dropped, by its locks.
-- `row_versions` of the relation, its columns and its triggers in the catalog (internal triggers
-- belong to foreign keys of other tables): none for a dropped relation, and none for a foreign
-- table, whose truncation leaves no trace in the catalog.
SELECT l.relation AS oid, CASE WHEN c.relkind <> 'f' THEN concat_ws(' ', c.ctid,
    (SELECT string_agg(a.ctid::text, ' ' ORDER BY a.attnum) FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0),
    (SELECT string_agg(t.ctid::text, ' ' ORDER BY t.oid) FROM pg_trigger t
     WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)) END AS row_versions
FROM pg_locks l
LEFT JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- :name altered
-- Tables with other `row_versions` than in the caller's transaction, and the tables that contain
-- them, by the names they had before: for another connection, which does not see the changes of the
-- transaction.
WITH RECURSIVE altered AS (
    SELECT c.oid FROM unnest(%(oids)s::oid[], %(row_versions)s::text[]) AS l(oid, row_versions)
    JOIN pg_class c ON c.oid = l.oid
    WHERE l.row_versions IS DISTINCT FROM concat_ws(' ', c.ctid,
        (SELECT string_agg(a.ctid::text, ' ' ORDER BY a.attnum) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0),
        (SELECT string_agg(t.ctid::text, ' ' ORDER BY t.oid) FROM pg_trigger t
         WHERE t.tgrelid = c.oid AND NOT t.tgisinternal))
    UNION
    SELECT i.inhparent FROM altered a JOIN pg_inherits i ON i.inhrelid = a.oid
)
SELECT n.nspname AS schema, c.relname AS table, n.nspname = 'public' AS is_visible, false AS defers,
    ARRAY(SELECT DISTINCT substr(t.tgname::text, 9, 12)
          FROM pg_trigger t
          JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = to_regnamespace('knockon_source')
          WHERE t.tgrelid = c.oid AND starts_with(t.tgname::text, 'knockon_')) AS captured
FROM altered a
JOIN pg_class c ON c.oid = a.oid AND c.relkind IN ('r', 'p', 'f')
JOIN pg_namespace n ON n.oid = c.relnamespace
    AND n.nspname NOT IN ('knockon', 'knockon_source') AND NOT starts_with(n.nspname, 'pg_')

-- :name unique_index
-- `merges_nulls`: a unique index on exactly these columns of the table treats nulls as equal.
SELECT coalesce(bool_or(i.indnullsnotdistinct), false) AS merges_nulls
FROM pg_index i
JOIN pg_class c ON c.oid = i.indrelid AND c.relname = %(table)s
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %(schema)s
CROSS JOIN LATERAL (SELECT ARRAY(
    SELECT a.attname::text FROM pg_attribute a
    WHERE a.attrelid = c.oid
        AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) AS columns) AS k
WHERE i.indisunique AND i.indisvalid AND i.indimmediate
    AND i.indpred IS NULL AND i.indexprs IS NULL
    AND k.columns @> %(columns)s::text[] AND k.columns <@ %(columns)s::text[]

-- :name claims
-- The datasets that current versions of any org may store in tables of these bare names, or capture
-- from them. Names are compared as folded and truncated by the server, which it does in ASCII only
-- (and `lower` by the locale of the database, unless given another).
SELECT c.org_id, c.name, j.dag_name, j.activation = 'source' AS is_source,
       t.spelling, t.folds
FROM knockon.current_datasets c
JOIN knockon.datasets d ON d.id = c.dataset_uuid
JOIN knockon.jobs j ON j.dag_version_id = c.dag_version_id AND j.name = d.producer_job_name
CROSS JOIN LATERAL (VALUES
    (coalesce(d.storage ->> 'table', CASE WHEN d.storage - 'adopt' = '{}' THEN d.name END), false),
    (CASE j.source ->> 'kind' WHEN 'postgres' THEN j.source ->> 'table' END, true)
) AS t(spelling, folds)
WHERE lower(btrim(replace(regexp_replace(t.spelling, '^.*[.]', ''), '"', ''), E' \t\n\r\f\v')
        COLLATE "C")::name::text
    IN (SELECT unnest(%(names)s::text[]))

-- :name captured
-- The datasets of current versions whose capture triggers have these names; triggers of an earlier
-- version were named without the org.
SELECT c.org_id, c.name, j.dag_name, j.activation = 'source' AS is_source, w.schema, w.name AS table
FROM unnest(%(stems)s::text[], %(schemas)s::text[], %(tables)s::text[]) AS w(stem, schema, name)
JOIN knockon.current_datasets c ON w.stem IN (
    left(encode(sha256(convert_to(c.org_id::text || ' ' || c.name, 'UTF8')), 'hex'), 12),
    left(encode(sha256(convert_to(c.name, 'UTF8')), 'hex'), 12))
JOIN knockon.datasets d ON d.id = c.dataset_uuid
JOIN knockon.jobs j ON j.dag_version_id = c.dag_version_id AND j.name = d.producer_job_name

-- :name entitled
-- The numbers of those claims of other orgs that count against an org: the other org has a right to
-- the table, and the org's own right is not stronger. Ownership is the strongest right. An operator
-- who lets an org write to a table has accepted its readers; a grant by DAG files implies no such
-- decision. Rights of PUBLIC do not count.
WITH org AS (
    SELECT o.id, p.proowner AS role, coalesce(o.settings ->> 'grants' = 'dag_files', false) AS is_given
    FROM knockon.orgs o
    LEFT JOIN pg_proc p ON p.pronamespace = 'knockon'::regnamespace AND p.prosecdef
        AND p.proname = 'run_as_' || replace(o.id::text, '-', '')
)
SELECT w.number::int AS number
FROM unnest(%(orgs)s::uuid[], %(schemas)s::text[], %(tables)s::text[], %(are_sources)s::bool[])
    WITH ORDINALITY AS w(org, schema, name, is_source, number)
JOIN org AS other ON other.id = w.org
JOIN org AS own ON own.id = %(org_id)s
LEFT JOIN pg_namespace n ON n.nspname = w.schema
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
LEFT JOIN LATERAL (
    SELECT bool_or(a.grantee = other.role
            AND a.privilege_type = CASE WHEN w.is_source THEN 'SELECT' ELSE 'INSERT' END) AS others,
        bool_or(a.grantee = own.role AND a.privilege_type = 'INSERT') AS ours
    FROM aclexplode(c.relacl) AS a
) AS granted ON true
WHERE CASE
    WHEN c.oid IS NULL THEN NOT w.is_source AND (other.is_given
        OR coalesce(has_schema_privilege(other.role, n.oid, 'CREATE'), false))
    WHEN c.relowner = own.role THEN false
    WHEN w.is_source AND NOT own.is_given AND granted.ours THEN false
    ELSE other.is_given OR granted.others OR coalesce(c.relowner = other.role, false) END
