"""The database roles: created by migrate if permitted, printed otherwise."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from engine.errors import InvalidInput
from engine.store.database import Database, open_connection
from engine.store.grants import grant_to_org, parse_grant
from engine.store.migrate import migrate
from engine.store.migration_files import migrations_dir
from engine.store.orgs import ensure_org, org_id, set_setting, settings
from engine.store.roles import missing_roles, render, role_name
from tests.support.workers import sql_job, work
from tests.support.worlds import World, source

_ATTRIBUTES = """
SELECT rolname, rolcanlogin, rolsuper FROM pg_roles WHERE rolname = ANY(%s)
"""


@pytest.fixture
def plain_user(empty_database_url: str) -> Iterator[str]:
    """Name of a user with an empty database and no right to create roles."""
    name = f"plain_{uuid4().hex[:12]}"
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        conn.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                sql.Identifier(conn.info.dbname), sql.Identifier(name)
            )
        )
    yield name
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))


async def test_migrate_creates_roles_without_login(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    conn = await open_connection(empty_database_url)
    database = conn.info.dbname
    names = [role_name(kind, database) for kind in ("owner", "engine", "service", "capture")]
    names.append(role_name("jobs", database, "default"))
    rows = await (await conn.execute(_ATTRIBUTES, [names])).fetchall()
    assert {row["rolname"]: (row["rolcanlogin"], row["rolsuper"]) for row in rows} == dict.fromkeys(
        names, (False, False)
    )
    assert await missing_roles(conn) == []
    await conn.close()


async def test_objects_belong_to_the_owner_role_and_are_hidden_from_jobs(
    database: Database,
) -> None:
    async with database.connection() as conn:
        owners = await (
            await conn.execute(
                "SELECT DISTINCT pg_get_userbyid(relowner) AS name FROM pg_class "
                "WHERE relnamespace = 'knockon'::regnamespace"
            )
        ).fetchall()
        assert [row["name"].startswith("knockon_owner_") for row in owners] == [True]
        (row,) = await (
            await conn.execute(
                "SELECT has_schema_privilege(pg_get_userbyid(proowner), 'knockon', 'USAGE') AS used"
                " FROM pg_proc WHERE pronamespace = 'knockon'::regnamespace AND prosecdef"
                " AND proname LIKE 'run\\_as\\_%'"
            )
        ).fetchall()
        assert row["used"] is False


async def test_an_admin_can_run_statements_printed_for_an_unprivileged_user(
    empty_database_url: str, plain_user: str
) -> None:
    url = make_conninfo(empty_database_url, user=plain_user)
    assert (await migrate(url))[0] == "0001_schema"
    conn = await open_connection(url)
    printed = list(render(await missing_roles(conn), conn))
    assert any(text.startswith("CREATE ROLE") for text in printed)
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        for text in printed:
            admin.execute(text)  # type: ignore[call-overload]
    assert await missing_roles(conn) == []
    assert await migrate(url) == []
    await conn.close()


async def test_a_member_of_the_owner_migrates_rows_hidden_by_policies(
    empty_database_url: str, plain_user: str, tmp_path: Path
) -> None:
    url = make_conninfo(empty_database_url, user=plain_user)
    await migrate(url)
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        conn = await open_connection(url)
        for text in list(render(await missing_roles(conn), conn)):
            admin.execute(text)  # type: ignore[call-overload]
        await conn.close()
        directory = Path(copytree(migrations_dir(), tmp_path / "migrations"))
        (directory / "9999_rename.sql").write_text("UPDATE knockon.orgs SET name = 'renamed';\n")
        await migrate(url, directory)
        assert admin.execute("SELECT name FROM knockon.orgs").fetchall() == [("renamed",)]


async def test_a_member_of_the_engine_role_can_do_everything_except_grants(
    database_url: str, database: Database
) -> None:
    user = f"engine_{uuid4().hex[:12]}"
    async with database.connection() as conn:
        (row,) = await (
            await conn.execute(
                "SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'knockon_engine_') "
                "AND has_schema_privilege(oid, 'knockon', 'USAGE')"
            )
        ).fetchall()
        create = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}")
        await conn.execute(create.format(*map(sql.Identifier, (user, row["rolname"]))))
        await conn.execute("CREATE TABLE public.orders (dt date, amount int)")
        await conn.execute("INSERT INTO public.orders VALUES ('2013-02-13', 1)")
        await grant_to_org(conn, "default", parse_grant("orders", "read"))
        await grant_to_org(conn, "default", parse_grant("public", "create"))
    async with await Database.open(make_conninfo(database_url, user=user)) as weak:
        world = await World.made(
            weak, source("orders"), sql_job("daily", "orders", sql="SELECT amount FROM orders")
        )
        await world.changed("orders", "2013-02-13")
        await work(world)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await world.rows("CREATE TABLE knockon.mine (a int)")
    async with database.connection() as conn:
        made = await (await conn.execute("SELECT amount FROM public.daily")).fetchall()
    assert made == [{"amount": 1}]


async def test_a_new_org_gets_a_role(database: Database) -> None:
    async with database.connection() as conn:
        await ensure_org(conn, "other")
        assert await missing_roles(conn) == []


async def test_an_existing_login_role_is_not_used(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        role = sql.Identifier(role_name("engine", conn.info.dbname))
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    with pytest.raises(InvalidInput, match="can log in"):
        await migrate(empty_database_url)


async def test_a_schema_of_another_role_is_not_used(
    empty_database_url: str, plain_user: str
) -> None:
    with psycopg.connect(make_conninfo(empty_database_url, user=plain_user)) as conn:
        conn.execute("CREATE SCHEMA knockon")
    with pytest.raises(InvalidInput, match=f"belongs to role {plain_user}"):
        await migrate(empty_database_url)


@pytest.mark.parametrize(
    ("database", "org"), [("a" * 63, None), ("a" * 40, "b" * 40), ("a/b", "c"), ("a", "b/c")]
)
def test_role_names_fit_the_length_limit(database: str, org: str | None) -> None:
    assert len(role_name("capture", database, org).encode()) <= 63


def test_role_names_of_two_orgs_differ() -> None:
    assert role_name("jobs", "a/b", "c") != role_name("jobs", "a", "b/c")


async def test_the_default_of_grants_does_not_replace_a_setting(empty_database_url: str) -> None:
    await migrate(empty_database_url, grants_named_tables=True)
    conn = await open_connection(empty_database_url)
    default = await org_id(conn, "default")
    assert (await settings(conn, default)).grants == "dag_files"
    await set_setting(conn, default, "grants", None)
    await migrate(empty_database_url, grants_named_tables=True)
    assert (await settings(conn, default)).grants is None
    await conn.close()
