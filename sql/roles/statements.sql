-- Statements that create roles and grant their rights. Names in braces are replaced by quoted
-- identifiers. The statements are safe to repeat, and administrators can run them as printed by
-- `knockon doctor`.

-- :name owner
-- Owner of Knockon's schema. Data migrations must see every row, regardless of policies.
CREATE ROLE {role} NOLOGIN BYPASSRLS;

-- :name engine
-- The role of planning, claims, completions and ingestion; every statement filters by org.
CREATE ROLE {role} NOLOGIN BYPASSRLS;

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
-- Needed to check a job's SELECT as a temporary view.
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
