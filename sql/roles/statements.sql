-- Statements that create roles and grant their rights. Names in braces are replaced by quoted
-- identifiers. The statements are safe to repeat, and administrators can run them as printed by
-- `knockon doctor`.

-- :name owner
-- Owner of Knockon's schema. Data migrations must see every row, regardless of policies.
CREATE ROLE {role} NOLOGIN BYPASSRLS;

-- :name engine
-- The role of planning, claims, completions and ingestion; every statement filters by org.
CREATE ROLE {role} NOLOGIN BYPASSRLS;

-- :name service
-- The role of the HTTP service, restricted by row-level security to the org of each transaction.
CREATE ROLE {role} NOLOGIN;

-- :name capture
-- The role of inserts into the change log.
CREATE ROLE {role} NOLOGIN;

-- :name jobs
-- The role of an org's SQL jobs, without login.
CREATE ROLE {role} NOLOGIN;

-- :name join
-- Allow the user of the connection to transfer objects to the role.
GRANT {role} TO {member};

-- :name temporary
-- Needed to check a job's SELECT as a temporary view, and to copy new tasks of the service.
GRANT TEMPORARY ON DATABASE {database} TO {role};

-- :name own_schema
-- Transfer the schema, and with it the right to alter its objects.
ALTER SCHEMA knockon OWNER TO {owner};

-- :name own_relation
ALTER TABLE {relation} OWNER TO {owner};

-- :name own_function
ALTER FUNCTION {function} OWNER TO {owner};

-- :name engine_rights
-- All rights required by the engine's statements, and none to alter definitions.
GRANT USAGE ON SCHEMA knockon TO {engine};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA knockon TO {engine};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA knockon TO {engine};
GRANT EXECUTE ON FUNCTION knockon.add_history_partition(regclass, timestamptz),
    knockon.expire_history(regclass, timestamptz), knockon.drop_history_month(regclass, timestamptz)
    TO {engine};

-- :name protect
-- Restrict a table to the rows of the transaction's org, except for the engine's role and its members:
-- no role inherits BYPASSRLS. Without an org, the table is empty.
ALTER TABLE {relation} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS org ON {relation};
CREATE POLICY org ON {relation} USING ({column} = knockon.current_org());
DROP POLICY IF EXISTS engine ON {relation};
CREATE POLICY engine ON {relation} TO {engine} USING (true);

-- :name drop_policy
-- Permissive policies are combined: another one might show rows of all orgs.
DROP POLICY {policy} ON {relation};

-- :name protect_month
-- A month of a history is read and written through the history, whose policies apply.
ALTER TABLE {relation} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- :name service_schema
GRANT USAGE ON SCHEMA knockon TO {service};
GRANT USAGE ON SEQUENCE knockon.lineage_epochs TO {service};

-- :name service_table
GRANT SELECT, INSERT, UPDATE, DELETE ON {relation} TO {service};

-- :name service_view
GRANT SELECT ON {relation} TO {service};

-- :name service_log
-- What is recorded stays as it is.
REVOKE UPDATE, DELETE ON {relation} FROM {service};
GRANT SELECT, INSERT ON {relation} TO {service};

-- :name service_org
-- Orgs are created and removed by operators. A trigger protects settings that only they change.
REVOKE INSERT, UPDATE, DELETE ON {relation} FROM {service};
GRANT SELECT, UPDATE (settings, lineage_epoch) ON {relation} TO {service};

-- :name run_function
-- Run SQL with the rights of an org. Inside a SECURITY DEFINER function, SQL cannot reset the role.
-- Only the last statement returns rows; opened as a cursor, it must be a single query. Temporary
-- views, which replace a job's inputs while its SELECT is checked, precede tables in `public`.
CREATE OR REPLACE FUNCTION {function}(statements text[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp, public
AS $run$
DECLARE
    number int;
    found record;
BEGIN
    FOR number IN 1 .. pg_catalog.cardinality(statements) - 1 LOOP
        EXECUTE statements[number];
    END LOOP;
    FOR found IN EXECUTE statements[pg_catalog.cardinality(statements)] LOOP
        RETURN NEXT pg_catalog.row_to_json(found)::text;
    END LOOP;
END $run$;
REVOKE ALL ON FUNCTION {function}(text[]) FROM PUBLIC;

-- :name run_right
GRANT EXECUTE ON FUNCTION {function}(text[]) TO {engine};

-- :name own_run_function
-- A new owner of a function needs the right to create objects in the schema during this statement.
-- Afterwards the org's role cannot look up the function, and thus cannot alter it; rights of PUBLIC
-- are revoked for the same reason.
GRANT USAGE, CREATE ON SCHEMA knockon TO {role};
ALTER FUNCTION {function}(text[]) OWNER TO {role};
REVOKE ALL ON SCHEMA knockon FROM {role}, PUBLIC;
