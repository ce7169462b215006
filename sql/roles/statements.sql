-- Statements that create roles and give them their rights. Names in braces are filled in with quoted
-- identifiers. They can be repeated, and an administrator can run them as `knockon doctor` prints them.

-- :name owner
-- Owns Knockon's schema. Data migrations have to see every row, whatever the policies.
CREATE ROLE {role} NOLOGIN BYPASSRLS;

-- :name engine
-- Plans, claims, completes and ingests; filters by org in every statement.
CREATE ROLE {role} NOLOGIN BYPASSRLS;

-- :name capture
-- Inserts into the change log.
CREATE ROLE {role} NOLOGIN;

-- :name jobs
-- The rights of an org's SQL jobs. Nobody logs in with it.
CREATE ROLE {role} NOLOGIN;

-- :name join
-- The user that Knockon connects as can hand objects over to the role.
GRANT {role} TO {member};

-- :name temporary
-- A job's SELECT is checked as a temporary view.
GRANT TEMPORARY ON DATABASE {database} TO {role};

-- :name own_schema
-- The owner has the schema, and with it the right to alter what is in it.
ALTER SCHEMA knockon OWNER TO {owner};

-- :name own_relation
ALTER TABLE {relation} OWNER TO {owner};

-- :name own_function
ALTER FUNCTION {function} OWNER TO {owner};

-- :name engine_rights
-- Everything that the engine's statements need, and no right to alter a definition.
GRANT USAGE ON SCHEMA knockon TO {engine};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA knockon TO {engine};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA knockon TO {engine};

-- :name run_function
-- Runs SQL with the rights of an org. Inside of a SECURITY DEFINER function the role cannot be set
-- back. The statements before the last one return nothing; the last one is a query, and being opened as
-- a cursor it is a single one. Temporary views, which stand for a job's inputs while its SELECT is
-- checked, come before the tables of `public`.
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
-- Owning a function takes the right to create one in its schema, for as long as that statement runs.
-- Afterwards the org's role cannot even look the function up, and so cannot alter it, not by a right
-- that everybody has either.
GRANT USAGE, CREATE ON SCHEMA knockon TO {role};
ALTER FUNCTION {function}(text[]) OWNER TO {role};
REVOKE ALL ON SCHEMA knockon FROM {role}, PUBLIC;
