"""PostgreSQL confines the service to the rows of one org, in every table of the schema."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from engine.errors import ServiceUnavailable
from engine.store.database import Connection, Database
from engine.store.roles import missing_roles, render, role_name
from engine.store.tenancy import TenantDatabase
from tests.support.databases import fresh_database

OURS, THEIRS = uuid4(), uuid4()
_VALUES = {
    "uuid": "gen_random_uuid()",
    "text": "'x'",
    "integer": "1",
    "bigint": "1",
    "boolean": "true",
    "timestamp with time zone": "now()",
    "jsonb": "'{}'",
    "json": "'{}'",
    "bytea": "uuid_send(gen_random_uuid())",
    "double precision": "1",
    "text[]": "'{}'",
    "uuid[]": "'{}'",
}
UNCHANGEABLE = {"access_changes", "orgs"}
"""Tables of which the service may change no column of the org."""
_DELETE = "DELETE FROM knockon.access_changes"
_TABLES = """SELECT c.relname AS name, c.relkind::text AS kind, c.relispartition AS is_month,
    CASE c.relname WHEN 'orgs' THEN 'id' ELSE 'org_id' END AS org
FROM pg_class c
WHERE c.relnamespace = 'knockon'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    AND c.relname <> 'migrations' ORDER BY 1"""
_COLUMNS = """SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
WHERE attrelid = ('knockon.' || %s)::regclass AND attnum > 0 AND NOT attisdropped
    AND (attnotnull OR attname IN ('id', 'task_id', 'org_id')) AND attgenerated = ''
    AND attidentity = ''"""


def _name(table: str) -> sql.Identifier:
    return sql.Identifier("knockon", table)


async def _rows_of_two_orgs(conn: Connection) -> None:
    """Insert a row of each org into every table, whatever it refers to."""
    await conn.execute("SET session_replication_role = replica")
    checks = await conn.execute(
        "SELECT conrelid::regclass::text AS name, conname FROM pg_constraint WHERE contype = 'c' "
        "AND connamespace = 'knockon'::regnamespace AND conislocal AND coninhcount = 0"
    )
    for row in await checks.fetchall():
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}")
        await conn.execute(drop.format(_name(row["name"].split(".")[-1]), _id(row["conname"])))
    for table in await (await conn.execute(_TABLES)).fetchall():
        if table["kind"] == "p":
            month = "SELECT knockon.add_history_partition(('knockon.' || %s)::regclass, now())"
            await conn.execute(month, [table["name"]])
    for table in await (await conn.execute(_TABLES)).fetchall():
        if table["kind"] != "v" and not table["is_month"]:
            for org in (OURS, THEIRS):
                await _insert(conn, table["name"], table["org"], org)
    await conn.execute("SET session_replication_role = origin")


async def _insert(conn: Connection, table: str, org_column: str, org: UUID) -> None:
    columns = await (await conn.execute(_COLUMNS, [table])).fetchall()
    values = [_value(column["name"], column["type"], org_column, org) for column in columns]
    names = [_id(column["name"]) for column in columns]
    await conn.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            _name(table), sql.SQL(", ").join(names), sql.SQL(", ").join(values)
        )
    )


def _value(column: str, kind: str, org_column: str, org: UUID) -> sql.Composable:
    """Return a value that no other row has, where a key may need one."""
    if column == org_column or kind == "text":
        return sql.Literal(org if column == org_column else str(org))
    if kind == "uuid" and column in ("id", "task_id"):
        return sql.SQL("knockon.random_id_at(now())")
    return sql.SQL(_VALUES[kind])


def _id(name: str) -> sql.Identifier:
    return sql.Identifier(name)


async def leaks(database: Database) -> set[str]:
    """Return the tables in which work on OURS sees or changes rows of THEIRS, or misses its own."""
    found: set[str] = set()
    async with database.org_connection(OURS) as conn:
        tables = await (await conn.execute(_TABLES)).fetchall()
        for table in tables:
            if not table["is_month"] and await _leaks(
                conn, table["name"], table["org"], table["kind"]
            ):
                found.add(table["name"])
    return found


async def _leaks(conn: Connection, table: str, org: str, kind: str) -> bool:
    names = {"table": _name(table), "org": _id(org)}
    async with conn.transaction(force_rollback=True):
        read = sql.SQL("SELECT DISTINCT {org} AS org FROM {table}").format(**names)
        seen = {row["org"] for row in await (await conn.execute(read)).fetchall()}
        if kind == "v":
            return THEIRS in seen
        if table in UNCHANGEABLE:
            return seen != {OURS}
        write = sql.SQL("UPDATE {table} SET {org} = {org}").format(**names)
        written = (await conn.execute(write)).rowcount
        return seen != {OURS} or written != 1


@pytest.fixture(scope="module")
def filled_url(postgres_url: str, template: str) -> Iterator[str]:
    with fresh_database(postgres_url, template) as url:
        yield url


@pytest.fixture
async def engine(filled_url: str) -> AsyncIterator[Database]:
    async with await Database.open(filled_url) as database:
        async with database.connection() as conn:
            filled = await conn.execute("SELECT FROM knockon.users")
            if filled.rowcount == 0:
                await conn.execute("DELETE FROM knockon.orgs")
                await _rows_of_two_orgs(conn)
        yield database


@pytest.fixture
async def service(engine: Database, filled_url: str) -> AsyncIterator[Database]:
    async with await TenantDatabase.open(filled_url) as database:
        yield database


async def test_no_row_of_another_org_is_seen_or_changed(service: Database) -> None:
    assert await leaks(service) == set()


async def test_a_bypass_is_detected(engine: Database) -> None:
    async with engine.connection() as conn:
        rows = await (await conn.execute(_TABLES)).fetchall()
    tables = {row["name"] for row in rows if row["kind"] != "v" and not row["is_month"]}
    assert await leaks(engine) >= tables


async def test_a_table_without_its_policy_is_detected(engine: Database, service: Database) -> None:
    async with engine.connection() as conn:
        rows = await (await conn.execute(_TABLES)).fetchall()
        for row in rows:
            if row["kind"] == "v" or row["is_month"]:
                continue
            change = sql.SQL("ALTER TABLE {} {} ROW LEVEL SECURITY")
            await conn.execute(change.format(_name(row["name"]), sql.SQL("DISABLE")))
            assert row["name"] in await leaks(service)
            await conn.execute(change.format(_name(row["name"]), sql.SQL("ENABLE")))
    assert await leaks(service) == set()


async def test_without_an_org_nothing_is_visible(service: Database) -> None:
    async with service.connection() as conn:
        for row in await (await conn.execute(_TABLES)).fetchall():
            if not row["is_month"]:
                found = await conn.execute(sql.SQL("SELECT FROM {}").format(_name(row["name"])))
                assert (row["name"], found.rowcount) == (row["name"], 0)


async def test_rows_for_another_org_are_refused(service: Database) -> None:
    async with service.org_connection(OURS) as conn:
        for row in await (await conn.execute(_TABLES)).fetchall():
            if row["kind"] == "v" or row["is_month"]:
                continue
            give = sql.SQL("UPDATE {} SET {} = {}").format(
                _name(row["name"]), _id(row["org"]), sql.Literal(THEIRS)
            )
            with _refused():
                await conn.execute(give)
            with _refused():
                await _insert(conn, row["name"], row["org"], THEIRS)


async def test_the_service_changes_no_record_of_a_change(service: Database) -> None:
    async with service.org_connection(OURS) as conn:
        await conn.execute("SELECT FROM knockon.access_changes")
        for statement in ("UPDATE knockon.access_changes SET actor = 'x'", _DELETE):
            with _refused():
                await conn.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO knockon.orgs (name, slug) VALUES ('x', 'x')",
        "UPDATE knockon.orgs SET slug = 'x'",
        "DELETE FROM knockon.orgs",
        """UPDATE knockon.orgs SET settings = settings || '{"trusted": true}'""",
        """UPDATE knockon.orgs SET settings = settings || '{"grants": "dag_files"}'""",
        """UPDATE knockon.orgs SET settings = settings || '{"running_tasks": 1000}'""",
    ],
)
async def test_the_service_changes_no_org_beyond_its_settings(
    service: Database, change: str
) -> None:
    async with service.org_connection(OURS) as conn:
        with _refused():
            await conn.execute(change)


async def test_settings_of_admins_can_be_changed(engine: Database, service: Database) -> None:
    async with service.org_connection(OURS) as conn, conn.transaction(force_rollback=True):
        change = """UPDATE knockon.orgs SET settings = settings || '{"four_eyes": true}'"""
        assert (await conn.execute(change)).rowcount == 1
    async with engine.connection() as conn, conn.transaction(force_rollback=True):
        change = """UPDATE knockon.orgs SET settings = settings || '{"trusted": true}'"""
        assert (await conn.execute(change)).rowcount == 2


@pytest.mark.parametrize(
    "change",
    [
        "DROP POLICY org ON knockon.tasks; CREATE POLICY org ON knockon.tasks USING (true)",
        "CREATE POLICY more ON knockon.tasks USING (true)",
        "DROP POLICY org ON knockon.tasks; CREATE POLICY org ON knockon.tasks FOR SELECT "
        "USING (org_id = knockon.current_org())",
        "ALTER POLICY org ON knockon.tasks WITH CHECK (true)",
        "DROP POLICY engine ON knockon.tasks; CREATE POLICY engine ON knockon.tasks USING (true)",
        "ALTER TABLE knockon.tasks NO FORCE ROW LEVEL SECURITY",
        "GRANT DELETE ON knockon.access_changes TO {}",
    ],
)
async def test_other_policies_and_privileges_are_noticed_and_replaced(
    engine: Database, change: str
) -> None:
    role = role_name("service", await _database(engine))
    async with engine.connection() as conn, conn.transaction(force_rollback=True):
        await conn.execute(change.replace("{}", sql.Identifier(role).as_string(conn)))
        statements = [text for text in await missing_roles(conn) if _is_of_service(text, conn)]
        assert statements
        for statement in statements:
            await conn.execute(statement)
        assert not [text for text in await missing_roles(conn) if _is_of_service(text, conn)]


def _is_of_service(statement: sql.Composed, conn: Connection) -> bool:
    """Whether a statement is not one for the roles of jobs, which the orgs here do not have."""
    text = statement.as_string(conn)
    return "jobs" not in text and "run_as" not in text


async def test_no_row_refers_to_a_row_of_another_org(engine: Database) -> None:
    async with engine.connection() as conn:
        keys = await conn.execute(
            "SELECT conrelid::regclass::text || ' ' || conname AS name FROM pg_constraint c "
            "WHERE contype = 'f' AND connamespace = 'knockon'::regnamespace "
            "AND confrelid <> 'knockon.orgs'::regclass AND NOT EXISTS ("
            "SELECT FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attname = 'org_id' "
            "AND a.attnum = ANY (c.conkey))"
        )
        assert [row["name"] for row in await keys.fetchall()] == []


async def test_months_are_accessible_through_their_history_only(service: Database) -> None:
    async with service.org_connection(OURS) as conn:
        months = [row for row in await (await conn.execute(_TABLES)).fetchall() if row["is_month"]]
        assert months
        for row in months:
            with _refused():
                await conn.execute(sql.SQL("SELECT FROM {}").format(_name(row["name"])))


async def test_a_new_month_lacks_nothing(engine: Database) -> None:
    async with engine.connection() as conn:
        texts = list(render(await missing_roles(conn), conn))
    # The orgs were created without the roles of their jobs.
    assert [text for text in texts if "jobs" not in text and "run_as" not in text] == []


async def test_every_table_enforces_its_policies(engine: Database) -> None:
    async with engine.connection() as conn:
        unprotected = await conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'knockon'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT (relrowsecurity AND relforcerowsecurity)"
        )
        assert [row["relname"] for row in await unprotected.fetchall()] == ["migrations"]


async def test_the_service_finds_the_org_of_a_request_with_the_rights_of_the_owner(
    engine: Database,
) -> None:
    role = role_name("service", await _database(engine))
    async with engine.connection() as conn:
        functions = await conn.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'knockon'::regnamespace "
            "AND prosecdef AND has_function_privilege(%s, oid, 'EXECUTE') ORDER BY 1",
            [role],
        )
        assert [row["proname"] for row in await functions.fetchall()] == [
            "org_of_key",
            "org_of_person",
            "org_of_session",
        ]


async def test_the_org_ends_with_its_transaction(service: Database) -> None:
    async with service.org_connection(OURS) as conn, conn.transaction():
        assert (await conn.execute("SELECT FROM knockon.users")).rowcount == 1
    async with service.connection() as conn:
        assert (await conn.execute("SELECT FROM knockon.users")).rowcount == 0


async def test_a_user_who_bypasses_the_policies_is_refused(
    database: Database, database_url: str
) -> None:
    name = f"bypass_{uuid4().hex[:12]}"
    async with database.connection() as conn:
        await conn.execute(
            sql.SQL(
                "CREATE ROLE {0} LOGIN BYPASSRLS; GRANT USAGE ON SCHEMA knockon TO {0}; "
                "GRANT SELECT ON ALL TABLES IN SCHEMA knockon TO {0}"
            ).format(_id(name))
        )
    with pytest.raises(ServiceUnavailable, match="does not confine"):
        await TenantDatabase.open(make_conninfo(database_url, user=name), retry=False)


async def test_a_login_of_the_service_is_restricted_without_setting_a_role(
    engine: Database, service: Database, filled_url: str
) -> None:
    name = f"service_{uuid4().hex[:12]}"
    role = role_name("service", await _database(engine))
    async with engine.connection() as conn:
        create = sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(_id(name), _id(role))
        await conn.execute(create)
    url = make_conninfo(filled_url, user=name)
    async with await TenantDatabase.open(url) as restricted:
        assert await leaks(restricted) == set()
    async with await Database.open(url) as plain, plain.connection() as conn:
        assert (await conn.execute("SELECT FROM knockon.users")).rowcount == 0


async def _database(database: Database) -> str:
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT substr(pg_get_userbyid(nspowner), length('knockon_owner_') + 1) AS name "
            "FROM pg_namespace WHERE nspname = 'knockon'"
        )
        (row,) = await cursor.fetchall()
    return str(row["name"])


@contextmanager
def _refused() -> Iterator[None]:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        yield
