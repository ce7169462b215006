-- :name foreign_owner
-- The owner of the schema if it is another role than the user, a superuser or Knockon's own owner role:
-- a role that created the schema beforehand would keep control of all objects in it.
SELECT pg_get_userbyid(nspowner)::text AS owner FROM pg_namespace
WHERE nspname = 'knockon' AND pg_get_userbyid(nspowner) <> current_user
    AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = nspowner)
    AND NOT (starts_with(pg_get_userbyid(nspowner), 'knockon_owner_')
        AND (SELECT NOT rolcanlogin FROM pg_roles WHERE oid = nspowner))

-- :name tables
-- The existing tables of migrations: in the schema, and of an earlier version in `public`.
SELECT to_regclass('knockon.migrations') IS NOT NULL AS in_schema,
       to_regclass('public.knockon_migrations') IS NOT NULL AS in_public

-- :name foreign_relations
-- Relations set aside from `public` that belong to another role. Reading a relation runs code of its
-- owner (casts, views, policies, index expressions) with the privileges of the reader. Another role is
-- not trusted even if it owns the database.
SELECT c.relname::text AS name, quote_ident(r.rolname) AS owner
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'knockon_before'
JOIN pg_roles r ON r.oid = c.relowner
WHERE NOT r.rolsuper AND r.rolname <> current_user
ORDER BY c.relkind NOT IN ('r', 'v', 'S'), c.relname

-- :name recorded
-- The migrations applied to this database, and those that were announced only.
SELECT version, checksum, applied_at IS NOT NULL AS is_applied FROM knockon.migrations

-- :name newest_requirement
-- The migration that requires the newest code, if that is newer than the code of this process.
SELECT to_char(version, 'FM0000') || '_' || name AS migration, oldest_code FROM knockon.migrations
WHERE oldest_code > %(code)s ORDER BY oldest_code DESC, version LIMIT 1

-- :name announce
-- Require newer code before a migration is applied.
INSERT INTO knockon.migrations (version, name, checksum, oldest_code)
VALUES (%(version)s, %(migration)s, %(checksum)s, %(oldest_code)s)
ON CONFLICT (version) DO UPDATE
SET name = EXCLUDED.name, checksum = EXCLUDED.checksum, oldest_code = EXCLUDED.oldest_code

-- :name withdraw
-- Take an announcement back.
DELETE FROM knockon.migrations WHERE version = %(version)s AND applied_at IS NULL

-- :name record
-- Record an applied migration.
INSERT INTO knockon.migrations (version, name, checksum, oldest_code, applied_at)
VALUES (%(version)s, %(migration)s, %(checksum)s, %(oldest_code)s, now())
ON CONFLICT (version) DO UPDATE
SET name = EXCLUDED.name, checksum = EXCLUDED.checksum, oldest_code = EXCLUDED.oldest_code,
    applied_at = EXCLUDED.applied_at

-- :name notify
-- Wake the processes, which check their code.
SELECT pg_notify(%(channel)s, '')

-- :name set_session
-- Change a setting of the session.
SELECT set_config(%(setting)s, %(value)s, false)

-- :name set_local
-- Change a setting until the end of the transaction.
SELECT set_config(%(setting)s, %(value)s, true)

-- :name act_as_owner
-- Use the rights of the schema's owner, who sees all rows, until the end of the transaction. A user
-- subject to the policies would update none.
SELECT set_config('role', pg_get_userbyid(n.nspowner), true)
FROM pg_namespace n JOIN pg_roles u ON u.rolname = current_user
WHERE n.nspname = 'knockon' AND starts_with(pg_get_userbyid(n.nspowner), 'knockon_owner_')
  AND NOT (u.rolsuper OR u.rolbypassrls)

-- :name try_lock
-- Take the lock of migrations until the end of the transaction, unless another session has it; any
-- number that no other program locks. Without parameters, so that the simple protocol is used: the
-- extended one leaves a portal open, whose snapshot a concurrent build of an index waits for.
SELECT pg_try_advisory_xact_lock(x'6b6e6f636b6f6e'::bigint) AS is_locked

-- :name register
-- Show to migrations, for as long as the session lasts, that code of a number is running.
SELECT pg_advisory_lock_shared(%(key)s, %(code)s)

-- :name older_processes
-- Sessions registered by processes with older code.
SELECT l.pid, coalesce(host(a.client_addr), 'local') AS host
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = %(key)s
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.objid::bigint < %(oldest_code)s
ORDER BY l.pid

-- :name lock_holders
-- Sessions that have held locks on tables of the schema for longer than a migration waits for a lock.
SELECT a.pid, coalesce(a.application_name, '') AS application,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
       array_agg(DISTINCT c.relname::text ORDER BY c.relname::text) AS tables
FROM pg_locks l
JOIN pg_stat_activity a ON a.pid = l.pid
JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'knockon'
WHERE l.locktype = 'relation' AND l.granted AND a.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND a.xact_start < clock_timestamp() - make_interval(secs => %(seconds)s)
GROUP BY a.pid, a.application_name, a.xact_start
ORDER BY a.xact_start LIMIT 3

-- :name invalid_index
-- An index whose concurrent build did not finish.
SELECT true AS is_invalid
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE c.relname = %(index)s AND n.nspname = %(schema)s AND t.relname = %(table)s
    AND NOT i.indisvalid
