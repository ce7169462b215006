"""Capture grants no additional rights: tables of untrusted owners may be attached."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from psycopg import AsyncConnection
from psycopg.rows import namedtuple_row

from consumers.postgres.attach import attach
from consumers.postgres.rights import excessive_rights
from engine.errors import InvalidInput
from tests.integration.consumers.postgres.conftest import TENANT, Source

ORIGIN = {"k": {"dynamic": True}}
ESCALATION = """CREATE FUNCTION {name}({type}) RETURNS {returns} LANGUAGE plpgsql AS $f$
BEGIN
    CREATE TABLE IF NOT EXISTS seen (who text);
    EXECUTE format('INSERT INTO seen VALUES (%L)', current_user);
    RETURN {value};
END $f$"""


@pytest.fixture
async def owner(source: Source) -> AsyncIterator[str]:
    """A role with no rights except on a schema of its own."""
    name = f"knockon_test_{uuid4().hex[:12]}"
    await source.run(
        f"CREATE ROLE {name} NOINHERIT",
        f"CREATE SCHEMA owned AUTHORIZATION {name}",
        f"GRANT CREATE ON DATABASE {source.connection.info.dbname} TO {name}",
    )
    yield name
    await source.run("RESET ROLE", f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


async def as_role(source: Source, name: str, *statements: str) -> None:
    await source.run(f"SET ROLE {name}", "SET search_path = owned, public")
    try:
        await source.run(*statements)
    finally:
        await source.run("RESET ROLE", "RESET search_path")


async def ran_as(source: Source, table: str = "owned.seen") -> list[str]:
    """The roles under which the owner's code has run."""
    (there,) = await source.rows(f"SELECT to_regclass('{table}') IS NOT NULL AS is_there")
    return [row.who for row in await source.rows(f"SELECT who FROM {table}")] if there[0] else []


async def is_superuser(source: Source, name: str) -> bool:
    (row,) = await source.rows(f"SELECT rolsuper FROM pg_roles WHERE rolname = '{name}'")
    return bool(row.rolsuper)


def superuser(name: str, returns: str = "text", value: str = "'a'") -> str:
    """A function that makes its owner a superuser, if the caller has the right."""
    return f"""CREATE FUNCTION owned.evil({name}) RETURNS {returns} LANGUAGE plpgsql AS $f$
        BEGIN EXECUTE 'ALTER ROLE OWNER_NAME SUPERUSER'; RETURN {value}; END $f$"""


async def test_an_owner_cannot_become_superuser_with_a_cast_of_a_new_type(source, owner):
    await as_role(source, owner, "CREATE TABLE owned.t (id int PRIMARY KEY, k text)")
    await source.attach("owned.t", ORIGIN)
    await source.run("INSERT INTO owned.t VALUES (1, 'b')")
    await as_role(
        source,
        owner,
        "CREATE TYPE owned.ev AS ENUM ('a', 'b')",
        superuser("owned.ev").replace("OWNER_NAME", owner),
        "CREATE CAST (owned.ev AS text) WITH FUNCTION owned.evil(owned.ev)",
        "ALTER TABLE owned.t ALTER COLUMN k TYPE owned.ev USING 'a'",
    )
    logged = await source.logged("INSERT INTO owned.t (id, k) VALUES (2, 'b')")
    assert not await is_superuser(source, owner)
    assert logged == [("insert", None, None, None)]


@pytest.mark.parametrize("writes", ["INSERT INTO owned.t VALUES (2, 'b')", None])
async def test_casts_of_the_owner_are_not_executed_for_keys(source, owner, writes):
    """Neither by a trigger nor during the announcement of the table."""
    await as_role(
        source,
        owner,
        "CREATE TYPE owned.ev AS ENUM ('a', 'b')",
        superuser("owned.ev").replace("OWNER_NAME", owner),
        "CREATE CAST (owned.ev AS text) WITH FUNCTION owned.evil(owned.ev) AS IMPLICIT",
        "CREATE TABLE owned.t (id int PRIMARY KEY, k owned.ev)",
        "INSERT INTO owned.t VALUES (1, 'b')",
    )
    await source.attach("owned.t", ORIGIN, announce=writes is None)
    if writes:
        await source.run(writes, "UPDATE owned.t SET id = id + 10", "DELETE FROM owned.t")
    assert not await is_superuser(source, owner)
    rows = await source.rows("SELECT DISTINCT partitions FROM knockon_source.changes")
    assert rows == [(["b"],)]


async def test_casts_of_the_row_type_are_not_executed(source, owner):
    await as_role(
        source,
        owner,
        "CREATE TABLE owned.t (id int, k text)",
        superuser("owned.t").replace("OWNER_NAME", owner),
        "CREATE CAST (owned.t AS text) WITH FUNCTION owned.evil(owned.t)",
    )
    await source.attach("owned.t", ORIGIN)
    await source.run("INSERT INTO owned.t VALUES (1, 'b')", "UPDATE owned.t SET id = 2")
    assert not await is_superuser(source, owner)


async def test_a_primary_key_of_a_new_type_is_not_compared(source, owner):
    await as_role(source, owner, "CREATE TABLE owned.t (id text PRIMARY KEY, k text)")
    await source.attach("owned.t", ORIGIN)
    await source.run("INSERT INTO owned.t VALUES ('a', 'b')")
    await as_role(
        source,
        owner,
        "CREATE TYPE owned.ev AS ENUM ('a', 'b')",
        superuser("owned.ev").replace("OWNER_NAME", owner),
        "CREATE CAST (owned.ev AS text) WITH FUNCTION owned.evil(owned.ev) AS IMPLICIT",
        "ALTER TABLE owned.t DROP CONSTRAINT t_pkey",
        "ALTER TABLE owned.t ALTER COLUMN id TYPE owned.ev USING 'a'",
    )
    logged = await source.logged("UPDATE owned.t SET k = 'c'")
    assert not await is_superuser(source, owner)
    assert logged == [("update", None, None, None)]


async def test_the_capture_role_may_only_write_to_the_log(source, owner):
    await as_role(source, owner, "CREATE TABLE owned.t (id int PRIMARY KEY, k text)")
    await source.attach("owned.t", ORIGIN)
    (role,) = await source.rows(
        "SELECT DISTINCT r.* FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner"
        " WHERE p.pronamespace = 'knockon_source'::regnamespace"
        " AND p.prorettype = 'trigger'::regtype"
    )
    assert role.rolname == f"knockon_capture_{source.connection.info.dbname}"
    rights = (role.rolsuper, role.rolcreaterole, role.rolcreatedb, role.rolcanlogin)
    assert rights == (False, False, False, False)
    rows = await source.rows(
        f"""SELECT c.relname, p FROM pg_class c
            CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
            WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text IN
                ('knockon_source', 'owned')
            AND (has_table_privilege('{role.rolname}', c.oid, p)
                 OR p IN ('INSERT', 'SELECT', 'UPDATE')
                 AND has_any_column_privilege('{role.rolname}', c.oid, p))"""
    )
    assert sorted(rows) == [("changes", "INSERT"), ("repeats", "SELECT")]
    (row,) = await source.rows(
        f"SELECT has_schema_privilege('{role.rolname}', 'knockon_source', 'CREATE') AS may_create"
    )
    assert not row.may_create


async def test_a_capture_role_with_excessive_privileges_is_rejected(source, owner):
    capture = f"knockon_capture_{source.connection.info.dbname}"
    await source.run("CREATE TABLE t (k text)", f"CREATE ROLE {capture} LOGIN CREATEROLE")
    with pytest.raises(InvalidInput, match="may create roles, may log in"):
        await source.attach("t", ORIGIN)


SQUATTED = (
    "CREATE SCHEMA knockon_source",
    """CREATE TABLE knockon_source.changes (xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        id bigint GENERATED ALWAYS AS IDENTITY, source text, dataset text NOT NULL,
        kind text NOT NULL, partitions text[], columns text[], rows bigint,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (xid, id))""",
    "GRANT ALL ON SCHEMA knockon_source TO PUBLIC",
    "GRANT ALL ON knockon_source.changes TO PUBLIC",
)


async def test_a_schema_owned_by_another_role_is_rejected(source, owner):
    await source.run("CREATE TABLE t (k text)")
    await as_role(source, owner, *SQUATTED)
    with pytest.raises(InvalidInput, match=f"schema knockon_source is owned by {owner}") as error:
        await source.attach("t", ORIGIN)
    assert "DROP SCHEMA knockon_source CASCADE" in str(error.value)
    assert f"knockon_source.changes is owned by {owner}" in str(error.value)
    await source.run("DROP SCHEMA knockon_source CASCADE")
    await source.attach("t", ORIGIN)


TRAP = """CREATE FUNCTION owned.trap() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RETURN NEW; END'"""


@pytest.mark.parametrize(
    ("statements", "finding"),
    [
        (["CREATE TABLE knockon_source.more ()", "ALTER TABLE knockon_source.more OWNER TO {0}"],
         "knockon_source.more is owned by {0}"),
        (["CREATE FUNCTION knockon_source.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
          "ALTER FUNCTION knockon_source.f OWNER TO {0}"],
         "function knockon_source.f is owned by {0}"),
        (["GRANT CREATE ON SCHEMA knockon_source TO {0}"],
         "CREATE on schema knockon_source is granted to {0}"),
        (["GRANT TRIGGER ON knockon_source.changes TO PUBLIC"],
         "TRIGGER on knockon_source.changes is granted to PUBLIC"),
        (["GRANT REFERENCES ON knockon_source.changes TO {0}"],
         "REFERENCES on knockon_source.changes is granted to {0}"),
        (["GRANT REFERENCES (id) ON knockon_source.changes TO {0}"],
         "REFERENCES on knockon_source.changes is granted to {0}"),
        (["GRANT MAINTAIN ON knockon_source.readers TO {0}"],
         "MAINTAIN on knockon_source.readers is granted to {0}"),
        (["CREATE TABLE owned.f (xid xid8, id bigint,"
          " FOREIGN KEY (xid, id) REFERENCES knockon_source.changes ON DELETE CASCADE)",
          "ALTER TABLE owned.f OWNER TO {0}"],
         "knockon_source.changes is referenced by the foreign key f_xid_id_fkey of owned.f"),
        ([TRAP, "CREATE TRIGGER e BEFORE INSERT ON knockon_source.changes"
                " FOR EACH ROW EXECUTE FUNCTION owned.trap()"],
         "knockon_source.changes has the trigger e"),
        (["CREATE RULE e AS ON DELETE TO knockon_source.readers DO ALSO SELECT 1"],
         "knockon_source.readers has the rule e"),
        (["CREATE POLICY e ON knockon_source.changes"], "knockon_source.changes has the policy e"),
        (["CREATE FUNCTION owned.f() RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
          "ALTER TABLE knockon_source.changes ALTER source SET DEFAULT owned.f()"],
         "an expression of knockon_source.changes uses function owned.f()"),
        (["CREATE FUNCTION owned.f(text) RETURNS bool LANGUAGE sql AS 'SELECT true'",
          "ALTER TABLE knockon_source.changes ADD CHECK (owned.f(source))"],
         "an expression of knockon_source.changes uses function owned.f(text)"),
        (["CREATE FUNCTION owned.f(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
          "CREATE INDEX ON knockon_source.changes (owned.f(source))"],
         "an expression of knockon_source.changes uses function owned.f(text)"),
    ],
)  # fmt: skip
async def test_a_log_that_could_execute_code_of_other_roles_is_rejected(
    source, owner, statements, finding
):
    await source.run("CREATE TABLE t (k text)")
    await source.attach("t", ORIGIN)
    await source.run(*(statement.format(owner) for statement in statements))
    with pytest.raises(InvalidInput) as error:
        await source.attach("t", ORIGIN)
    assert finding.format(owner) in str(error.value)
    assert any(finding.format(owner) in each for each in await excessive_rights(source.connection))


async def test_a_role_that_only_reads_the_log_may_trust_its_owner(source, owner):
    await source.run("CREATE TABLE t (k text)")
    await source.attach("t", ORIGIN)
    await source.run(f"SET ROLE {owner}", "SET search_path = pg_catalog")
    assert await excessive_rights(source.connection) == []


async def test_an_operator_on_the_search_path_is_not_used(source, owner):
    """`oid = regclass` has no exact match in pg_catalog, so an operator on the path would win."""
    await as_role(
        source,
        owner,
        "CREATE TABLE owned.t (id int PRIMARY KEY, k text)",
        """CREATE FUNCTION owned.same(oid, regclass) RETURNS bool LANGUAGE plpgsql AS $f$
           BEGIN CREATE TABLE owned.seen AS SELECT current_user::text AS who;
           RETURN $1 = $2::oid; END $f$""",
        "CREATE OPERATOR owned.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = owned.same)",
    )
    await source.run("SET search_path = owned, public")
    await source.attach("t", ORIGIN, announce=True)
    await source.run("INSERT INTO t VALUES (1, 'b')")
    await source.detach("t", "d")
    assert await ran_as(source) == []


async def test_detaching_keeps_functions_used_by_unrelated_triggers(source, owner):
    await source.run("CREATE TABLE mine (id int, k text)")
    await source.attach("mine", ORIGIN)
    (function,) = await source.rows(
        "SELECT proname, tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = tgfoid"
        " WHERE tgname LIKE 'knockon%insert'"
    )
    await as_role(
        source,
        owner,
        "CREATE TABLE owned.t (id int, k text)",
        f"CREATE FUNCTION owned.{function.proname}() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NULL; END'",
        f"CREATE TRIGGER {function.tgname} AFTER INSERT ON owned.t"
        f" FOR EACH STATEMENT EXECUTE FUNCTION owned.{function.proname}()",
    )
    with pytest.raises(InvalidInput, match="not attached"):
        await source.detach("owned.t", "d")
    assert await source.logged("INSERT INTO mine VALUES (1, 'b')") == [("insert", ["b"], None, 1)]


async def connected_as(source: Source, name: str) -> AsyncConnection[Any]:
    await source.run(f"ALTER ROLE {name} LOGIN PASSWORD 'secret'")
    info = source.connection.info
    return await AsyncConnection.connect(
        host=info.host, port=info.port, dbname=info.dbname, user=name, password="secret",
        autocommit=True, row_factory=namedtuple_row,
    )  # fmt: skip


async def test_an_owner_may_attach_after_an_administrator_created_the_role(source, owner):
    await as_role(source, owner, "CREATE TABLE owned.t (id int PRIMARY KEY, k text)")
    async with await connected_as(source, owner) as connection:
        mine = Source(source.url, connection)
        with pytest.raises(InvalidInput, match="ask an administrator") as error:
            await mine.attach("owned.t", ORIGIN)
        statements = str(error.value).partition("source to run: ")[2]
        assert "CREATE ROLE" in statements
        assert await mine.rows("SELECT to_regnamespace('knockon_source') AS n") == [(None,)]
        await source.run(statements)
        await mine.attach("owned.t", ORIGIN, announce=True)
        logged = await mine.logged("INSERT INTO owned.t VALUES (1, 'b')")
        assert logged == [("insert", ["b"], None, 1)]
        await mine.attach("owned.t", ORIGIN)
        await mine.detach("owned.t", "d")
    capture = f"knockon_capture_{source.connection.info.dbname}"
    await source.run(f"REVOKE {capture} FROM {owner}", "DROP SCHEMA knockon_source CASCADE")


async def test_a_table_of_another_owner_cannot_be_attached(source, owner):
    await source.run("CREATE TABLE t (k text)", "GRANT SELECT ON t TO PUBLIC")
    async with await connected_as(source, owner) as connection:
        with pytest.raises(InvalidInput, match="not permitted on table t"):
            await Source(source.url, connection).attach("t", ORIGIN)


FOLDED = {
    "an index": [
        "CREATE TABLE owned.t (id int PRIMARY KEY, k text)",
        "CREATE INDEX ON owned.t ((id + owned.folded(1)))",
    ],
    "a partial index": [
        "CREATE TABLE owned.t (id int PRIMARY KEY, k text)",
        "CREATE INDEX ON owned.t (id) WHERE id > owned.folded(1)",
    ],
    "a partition key": [
        "CREATE TABLE owned.t (id int, k text) PARTITION BY RANGE ((id + owned.folded(1)))",
        "CREATE TABLE owned.p PARTITION OF owned.t DEFAULT",
    ],
    "a check of a child": [
        "CREATE TABLE owned.t (id int, k text)",
        "CREATE TABLE owned.p (CHECK (id > owned.folded(1))) INHERITS (owned.t)",
    ],
    "statistics": [
        "CREATE TABLE owned.t (id int PRIMARY KEY, k text)",
        "CREATE STATISTICS owned.s ON (id + owned.folded(1)), k FROM owned.t",
    ],
}


@pytest.mark.parametrize("where", FOLDED)
async def test_functions_of_the_owner_are_not_executed_during_planning(source, owner, where):
    """PostgreSQL evaluates calls with constant arguments with the rights of the planning role."""
    await as_role(
        source,
        owner,
        "CREATE TABLE owned.seen (who text)",
        "GRANT INSERT ON owned.seen TO PUBLIC",
        "GRANT USAGE ON SCHEMA owned TO PUBLIC",
        """CREATE FUNCTION owned.note() RETURNS int LANGUAGE plpgsql AS
        $f$ BEGIN INSERT INTO owned.seen VALUES (current_user); RETURN 1; END $f$""",
        """CREATE FUNCTION owned.folded(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
        $f$ DECLARE a int; BEGIN EXECUTE 'SELECT owned.note()' INTO a; RETURN a; END $f$""",
        *FOLDED[where],
        "INSERT INTO owned.t VALUES (1, 'a'), (2, 'b')",
    )
    await source.run("DELETE FROM owned.seen")
    async with await AsyncConnection.connect(source.url, autocommit=True) as connection:
        await attach(connection, TENANT, "owned.t", "d", ORIGIN, announce=True)
    assert set(await ran_as(source)) <= {owner}
    (attached,) = await source.rows("SELECT partitions FROM knockon_source.changes")
    assert attached.partitions == ["a", "b"]
