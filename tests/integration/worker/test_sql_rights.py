"""The rights of SQL jobs: only those of the org's role, for every escalation attempt."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from engine.errors import InvalidInput, TaskFailed
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Database
from engine.store.grants import grant_to_org, parse_grant, revoke, revoke_from_org
from engine.store.orgs import ensure_org, set_setting
from engine.store.roles import create_roles
from engine.store.rows.orgs import OrgRow
from engine.store.run import fetch_one
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, source

SETUP = b"""
CREATE TABLE public.orders (dt date, amount int);
INSERT INTO public.orders VALUES ('2013-02-13', 1);
CREATE TABLE public.secrets (secret text);
INSERT INTO public.secrets VALUES ('token of another');
CREATE TABLE public.leaks (of_user text);
GRANT INSERT ON public.leaks TO PUBLIC;
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.cardinality(text[]) RETURNS int LANGUAGE sql AS
$$ INSERT INTO public.leaks VALUES (current_user) RETURNING 1 $$;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
$$ INSERT INTO public.leaks VALUES (current_user) RETURNING pg_catalog.now() $$;
CREATE FUNCTION public.run(statement text) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN EXECUTE statement; RETURN 'done'; END $$;
CREATE FUNCTION public.value(query text) RETURNS text LANGUAGE plpgsql AS
$$ DECLARE found text; BEGIN EXECUTE query INTO found; RETURN found; END $$;
INSERT INTO knockon.users (org_id, external_id, email, role)
SELECT id, 'somebody', 'somebody@example.com', 'reader' FROM knockon.orgs;
"""
READS = [
    "set_config('role', 'postgres', true)",
    "set_config('session_authorization', 'postgres', true)",
    "set_config('role', 'none', false)",
    "(SELECT min(word) FROM ts_stat('SELECT to_tsvector(lease_token::text) FROM knockon.tasks'))",
    "query_to_xml('SELECT * FROM knockon.users', true, false, '')::text",
    "table_to_xml('knockon.tasks', true, false, '')::text",
    "schema_to_xml('knockon', true, false, '')::text",
    "pg_read_file('/etc/passwd')",
    "(SELECT string_agg(f, ' ') FROM pg_ls_dir('.') AS f)",
    "lo_import('/etc/passwd')::text",
    "public.value('SELECT secret FROM public.secrets')",
    "public.value('SELECT lease_token FROM knockon.tasks LIMIT 1')",
    "public.value('SELECT set_config(''role'', ''postgres'', true)')",
]
COMMANDS = [
    "SET ROLE postgres",
    "RESET ROLE",
    "SET SESSION AUTHORIZATION DEFAULT",
    "RESET SESSION AUTHORIZATION",
    "DO $$ BEGIN SET LOCAL ROLE postgres; END $$",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY public.leaks FROM '/etc/passwd'",
    "UPDATE knockon.users SET role = 'admin'",
    "INSERT INTO public.secrets VALUES ('mine')",
    "DROP TABLE public.orders",
    "CREATE TABLE knockon.mine (a int)",
    "ALTER FUNCTION {function} SECURITY INVOKER",
    "CREATE OR REPLACE FUNCTION {function} RETURNS SETOF text LANGUAGE sql AS 'SELECT 1::text'",
    "ALTER FUNCTION {function} RESET ALL",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "GRANT pg_read_all_data TO CURRENT_USER",
    "PREPARE one AS SELECT 1",
]
REFUSAL = "permission denied|cannot set parameter|must be owner|prepared a statement"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with protected objects and a worker's connection settings: no search path."""
    parts = urlsplit(database_url)
    query = "&".join(each for each in parts.query.split("&") if not each.startswith("options="))
    async with await Database.open(parts._replace(query=query).geturl()) as database:
        async with database.connection() as conn:
            await conn.execute(SETUP)
        yield database


async def _attempted(database: Database, select: str, refusal: str = REFUSAL) -> World:
    world = await World.made(database, source("orders"), sql_job("daily", "orders", sql=select))
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises((TaskFailed, InvalidInput), match=refusal):
        await run_lease(world, lease)
    return world


@pytest.mark.parametrize("expression", READS)
async def test_a_select_reads_only_granted_objects(database: Database, expression: str) -> None:
    world = await _attempted(database, f"SELECT {expression} AS leak FROM orders")
    assert await world.rows("SELECT to_regclass('public.daily') AS made") == [{"made": None}]


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_user_function_has_no_more_privileges_than_the_job(
    database: Database, command: str
) -> None:
    async with database.connection() as conn:
        org = await fetch_one(conn, "orgs.by_slug", OrgRow, slug="default")
    assert org is not None
    statement = command.format(function=f"knockon.run_as_{org.id.hex}(text[])")
    quoted = statement.replace("'", "''")
    world = await _attempted(database, f"SELECT public.run('{quoted}') AS done FROM orders")
    assert await world.rows("SELECT role FROM knockon.users") == [{"role": "reader"}]
    assert await world.rows("SELECT count(*) FROM public.secrets") == [{"count": 1}]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 AS a FROM orders; DROP TABLE public.orders",
        "SELECT 1 AS a FROM orders) AS q; DELETE FROM public.orders; SELECT * FROM (SELECT 1 AS a",
        "WITH gone AS (DELETE FROM public.orders RETURNING 1) SELECT 1 AS a FROM orders",
    ],
)
async def test_sql_is_limited_to_one_reading_statement(
    database: Database, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Earlier releases deployed such SQL.
    monkeypatch.setattr("engine.lineage.check_job.find_query_problem", lambda text: None)
    async with database.connection() as conn:
        await conn.execute("ALTER TABLE public.orders OWNER TO " + await _role(database))
    world = await _attempted(database, text, "multi-query|syntax error|data-modifying")
    assert await world.rows("SELECT count(*) FROM public.orders") == [{"count": 1}]


@pytest.mark.parametrize(
    "command",
    [
        "SET search_path = evil, pg_catalog",
        "CREATE TEMP TABLE tasks AS SELECT 1 AS id",
        "CREATE DOMAIN pg_temp.uuid AS text CHECK (public.run('INSERT INTO public.leaks "
        "VALUES (current_user)') IS NULL)",
        "SET DateStyle = 'German'; SET row_security = off",
        "LISTEN knockon_tasks",
        "DECLARE remains CURSOR WITH HOLD FOR SELECT 1",
    ],
)
async def test_session_state_of_a_run_is_reset_before_completion(
    database: Database, command: str
) -> None:
    quoted = command.replace("'", "''")
    select = f"SELECT amount, public.run('{quoted}') AS done FROM orders"
    world = await World.made(database, source("orders"), sql_job("daily", "orders", sql=select))
    await world.changed("orders", "2013-02-13")
    await work(world)
    assert await world.rows("SELECT amount FROM public.daily") == [{"amount": 1}]
    assert await world.rows("SELECT * FROM public.leaks WHERE of_user = 'postgres'") == []
    left = await world.rows(
        "SELECT current_setting('search_path') AS path, current_setting('DateStyle') AS style, "
        "(SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) AS temporary, "
        "(SELECT count(*) FROM pg_cursors) AS cursors, "
        "(SELECT count(*) FROM pg_listening_channels()) AS channels"
    )
    assert left == [
        {
            "path": "pg_catalog, pg_temp",
            "style": "ISO, MDY",
            "temporary": 0,
            "cursors": 0,
            "channels": 0,
        }
    ]


async def test_locks_of_a_session_end_with_the_run(database: Database) -> None:
    select = "SELECT pg_advisory_lock(7)::text AS locked FROM orders"
    world = await World.made(database, source("orders"), sql_job("daily", "orders", sql=select))
    await world.changed("orders", "2013-02-13")
    await work(world)
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7"
    assert await world.rows(held) == [{"count": 0}]


async def test_a_failed_run_leaves_no_session_state(database: Database) -> None:
    select = "SELECT public.run('PREPARE p AS SELECT 1') || (amount / 0) AS a FROM orders"
    world = await _attempted(database, select, "division by zero")
    assert await world.rows("SELECT * FROM pg_prepared_statements WHERE from_sql") == []


async def test_a_deferred_trigger_never_runs_with_privileges_of_the_worker(
    database: Database,
) -> None:
    async with database.connection() as conn:
        await conn.execute(
            b"""CREATE TABLE public.daily (amount int, dt date);
            CREATE FUNCTION public.leak() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.leaks VALUES (current_user); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER leak AFTER INSERT ON public.daily
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.leak()"""
        )
    daily = sql_job("daily", "orders", sql="SELECT amount FROM orders")
    daily["outputs"][0]["storage"] = {"adopt": True}
    world = await World.made(database, source("orders"), daily)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    try:
        await run_lease(world, lease)
    except TaskFailed as error:
        assert "has a deferrable trigger" in str(error)  # noqa: PT017 only before PostgreSQL 18
    leaks = await world.rows("SELECT of_user FROM public.leaks")
    assert {row["of_user"] for row in leaks} <= {(await _role(database)).strip('"')}


async def test_the_error_of_an_org_without_grants_lists_the_commands(database: Database) -> None:
    world = await World.made(
        database, source("orders"), sql_job("daily", "orders", sql="SELECT amount FROM orders")
    )
    async with database.connection() as conn:
        await set_setting(conn, world.org.id, "grants", None)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises(TaskFailed) as refused:
        await run_lease(world, lease)
    assert "knockon grant default public.orders read" in str(refused.value)
    assert "knockon grant default public create" in str(refused.value)


async def test_a_revoked_privilege_takes_effect(database: Database) -> None:
    world = await World.made(
        database, source("orders"), sql_job("daily", "orders", sql="SELECT amount FROM orders")
    )
    await world.changed("orders", "2013-02-13")
    await work(world)
    async with database.connection() as conn:
        await set_setting(conn, world.org.id, "grants", None)
        role = (await _role(database)).strip('"')
        await revoke(conn, role, parse_grant("public.orders", "read"))
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises(TaskFailed, match="permission denied"):
        await run_lease(world, lease)


async def test_orgs_have_separate_privileges(database: Database) -> None:
    async with database.connection() as conn:
        other = World(database, OrgContext(await ensure_org(conn, "other")))
    await other.deploy(
        source("orders"), sql_job("theirs", "orders", sql="SELECT amount FROM orders")
    )
    await other.changed("orders", "2013-02-13")
    (lease,) = await other.claim()
    with pytest.raises(TaskFailed, match=r"knockon grant other public\.orders read"):
        await run_lease(other, lease)


async def test_tables_with_the_ownership_comment_are_transferred(database: Database) -> None:
    world = await World.made(
        database, source("orders"), sql_job("daily", "orders", sql="SELECT amount FROM orders")
    )
    await world.changed("orders", "2013-02-13")
    await work(world)
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'daily'"
    (made,) = await world.rows(owner)
    async with database.connection() as conn:
        await conn.execute(b"ALTER TABLE public.daily OWNER TO postgres")
        await create_roles(conn)
    assert await world.rows(owner) == [made]
    assert made["tableowner"] != "postgres"


@pytest.mark.parametrize(
    "text", ["knockon.tasks", "pg_catalog.pg_authid", "knockon_source.changes"]
)
def test_tables_of_knockon_cannot_be_granted(text: str) -> None:
    with pytest.raises(InvalidInput, match="belongs to Knockon or PostgreSQL"):
        parse_grant(text, "read")


async def _role(database: Database) -> str:
    async with database.connection() as conn:
        (row,) = await (
            await conn.execute(
                "SELECT quote_ident(pg_get_userbyid(proowner)) AS role FROM pg_proc p "
                "JOIN knockon.orgs o ON p.proname = 'run_as_' || replace(o.id::text, '-', '') "
                "WHERE o.slug = 'default'"
            )
        ).fetchall()
    return str(row["role"])


@pytest.mark.parametrize(
    "table",
    ["knockon.tasks", "knockon.users", '"knockon".tasks', "pg_catalog.pg_authid",
     "knockon_source.readers"],
)  # fmt: skip
async def test_tables_of_knockon_and_postgresql_are_not_granted_to_jobs(
    database: Database, table: str
) -> None:
    async with database.connection() as conn:
        await conn.execute(
            b"CREATE SCHEMA knockon_source; CREATE TABLE knockon_source.readers (a int)"
        )
    orders = source("orders")
    orders["outputs"][0]["storage"] = {"table": table}
    orders["outputs"][0]["partitioning"] = {}
    daily = sql_job("daily", "orders", sql="SELECT 1 AS a FROM orders", partitioning={})
    world = await World.made(database, orders, daily)
    await world.changed("orders")
    (lease,) = await world.claim()
    with pytest.raises(TaskFailed, match="belongs to Knockon or PostgreSQL"):
        await run_lease(world, lease)
    role = await _role(database)
    (found,) = await _fetch(
        database,
        f"SELECT has_schema_privilege('{role}'::regrole::oid, 'knockon', 'USAGE') AS knockon, "
        f"has_table_privilege('{role}'::regrole::oid, 'pg_catalog.pg_authid', 'SELECT') AS secrets",
    )
    assert found == {"knockon": False, "secrets": False}


@pytest.fixture
async def stranger(database: Database) -> AsyncIterator[str]:
    """A role that may create in `public`, the default on PostgreSQL 14."""
    name = "stranger_rights"
    async with database.connection() as conn:
        await conn.execute(
            b"CREATE ROLE stranger_rights; GRANT CREATE ON SCHEMA public TO stranger_rights"
        )
    yield name
    async with database.connection() as conn:
        await conn.execute(b"DROP OWNED BY stranger_rights CASCADE; DROP ROLE stranger_rights")


FORGED = """
SET ROLE {stranger};
CREATE TABLE public.daily (amount int, dt date);
CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.leaks VALUES (current_user); RETURN NULL; END $$;
CREATE TRIGGER theirs AFTER INSERT ON public.daily EXECUTE FUNCTION public.theirs();
GRANT ALL ON public.daily TO PUBLIC;
COMMENT ON TABLE public.daily IS 'knockon:{id}:{version}:{partitioning}';
RESET ROLE
"""


async def _forge(database: Database, stranger: str) -> World:
    world = await World.made(
        database, source("orders"), sql_job("daily", "orders", sql="SELECT amount FROM orders")
    )
    await world.changed("orders", "2013-02-13")
    await work(world)
    (mark,) = await world.rows("SELECT obj_description('public.daily'::regclass) AS mark")
    _, id_, version, partitioning = mark["mark"].split(":")
    async with database.connection() as conn:
        await conn.execute(b"DROP TABLE public.daily")
        forged = FORGED.format(
            stranger=stranger, id=id_, version=version, partitioning=partitioning
        )
        await conn.execute(forged.encode())
    return world


async def test_a_table_with_a_forged_ownership_comment_is_not_written(
    database: Database, stranger: str
) -> None:
    world = await _forge(database, stranger)
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises(InvalidInput, match="Knockon did not create it"):
        await run_lease(world, lease)
    assert await world.rows("SELECT * FROM public.leaks") == []


async def test_a_table_with_a_forged_ownership_comment_is_not_transferred(
    database: Database, stranger: str
) -> None:
    world = await _forge(database, stranger)
    async with database.connection() as conn:
        await create_roles(conn)
    owner = await world.rows("SELECT tableowner FROM pg_tables WHERE tablename = 'daily'")
    assert owner == [{"tableowner": stranger}]


async def test_a_run_function_owned_by_an_admin_is_not_executed(
    database: Database,
) -> None:
    world = await World.made(
        database, source("orders"), sql_job("daily", "orders", sql="SELECT amount FROM orders")
    )
    async with database.connection() as conn:
        await conn.execute(
            f"ALTER FUNCTION knockon.run_as_{world.org.id.hex} OWNER TO CURRENT_USER".encode()
        )
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises(TaskFailed, match="knockon doctor"):
        await run_lease(world, lease)
    async with database.connection() as conn:
        await create_roles(conn)
    await run_lease(world, lease)
    assert "knockon_jobs_" in await _role(database)


async def _fetch(database: Database, query: str) -> list[dict[str, object]]:
    async with database.connection() as conn:
        return await (await conn.execute(query.encode())).fetchall()


async def test_a_revoked_right_to_read_ends_every_right_to_a_table(database: Database) -> None:
    async with database.connection() as conn:
        await grant_to_org(conn, "default", parse_grant("public.orders", "write"))
        left = await revoke_from_org(conn, "default", parse_grant("public.orders", "read"))
    assert left == []
