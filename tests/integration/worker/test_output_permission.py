"""Forbidden output tables, rejected at deploy, and by workers for tables created later."""

from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from consumers.postgres.attach import attach
from consumers.postgres.triggers import Tenant
from engine.errors import InvalidDag, InvalidInput
from engine.flow.deployment.deploy import preview
from engine.flow.shared.org_context import OrgContext
from engine.model.dagfile import parse_dag
from engine.store.database import Database
from engine.store.grants import Access, grant_to_org, parse_grant
from engine.store.orgs import ensure_org
from tests.support.workers import run_lease, sql_job, work
from tests.support.worlds import World, source


@pytest.fixture
async def orders(database: Database) -> Database:
    """A source of three rows; the schema `raw` has a further, partitioned source and a view."""
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE orders (id int, dt date)")
        await conn.execute("INSERT INTO orders VALUES (1, '2013-02-12'), (2, '2013-02-13')")
        await conn.execute("CREATE SCHEMA raw")
        await conn.execute(
            "CREATE TABLE raw.ev (id int, dt date) PARTITION BY RANGE (dt);"
            "CREATE TABLE raw.ev_2013 PARTITION OF raw.ev"
            " FOR VALUES FROM ('2013-01-01') TO ('2014-01-01');"
            "INSERT INTO raw.ev VALUES (1, '2013-02-12'), (2, '2013-02-13');"
            "CREATE VIEW raw.ev_view AS SELECT * FROM raw.ev;"
            "CREATE TABLE raw.old (id int, dt date);"
            "CREATE TABLE raw.heir () INHERITS (raw.old)"
        )
    return database


EV = source("ev")
EV["outputs"][0]["storage"] = {"table": "raw.ev"}


def _copy(name: str = "copy", **storage: Any) -> dict[str, Any]:
    job = sql_job(name, "orders", sql="SELECT id FROM orders")
    job["outputs"][0]["storage"] = storage
    return job


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ({"table": "raw.old"}, "table raw.old exists, and Knockon did not create it"),
        ({"table": "raw.ev_view"}, "raw.ev_view is a view"),
        ({"table": "raw.ev_view", "adopt": True}, "raw.ev_view is a view"),
        (
            {"table": "raw.ev_2013", "adopt": True},
            "a write to table raw.ev_2013 changes raw.ev, which holds source dataset 'ev'",
        ),
    ],
)
async def test_deploy_and_preview_reject_tables_the_job_may_not_write(
    orders: Database, storage: dict[str, Any], message: str
) -> None:
    world = await World.made(orders, source("orders"), EV)
    jobs = [source("orders"), EV, _copy(**storage)]

    with pytest.raises(InvalidDag, match=message):
        await world.deploy(*jobs)
    with pytest.raises(InvalidDag, match=message):
        await _preview(world, *jobs)

    assert await _count(world, "raw.ev") == 2


_MART = "CREATE TABLE mart (id int PRIMARY KEY, up int); INSERT INTO mart VALUES (1), (2);"
_PASSING_ON = [
    "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES mart ON DELETE CASCADE",
    "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES mart ON DELETE SET NULL",
    "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES mart ON DELETE SET DEFAULT",
    "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES mart ON UPDATE CASCADE",
    "CREATE TABLE mid (id int PRIMARY KEY REFERENCES mart ON DELETE CASCADE);"
    "INSERT INTO mid VALUES (1), (2);"
    "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES mid ON DELETE CASCADE",
    "CREATE TABLE part (id int PRIMARY KEY REFERENCES mart ON DELETE CASCADE)"
    " PARTITION BY RANGE (id);"
    "DROP TABLE orders; CREATE TABLE orders PARTITION OF part DEFAULT",
    "CREATE TABLE base (id int REFERENCES mart ON DELETE CASCADE, dt date);"
    "ALTER TABLE orders INHERIT base;"
    "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES mart ON DELETE CASCADE",
]


@pytest.mark.parametrize("statements", _PASSING_ON)
async def test_a_foreign_key_that_propagates_writes_to_a_source_is_rejected(
    orders: Database, statements: str
) -> None:
    world = await World.made(orders, source("orders"))
    async with world.conn() as conn:
        await conn.execute(_MART.encode())
        await conn.execute(statements.encode())
    jobs = [source("orders"), _copy(table="mart", adopt=True)]
    message = r"a write to table mart changes public\.(orders|mid|part)"

    with pytest.raises(InvalidDag, match=message):
        await world.deploy(*jobs)
    with pytest.raises(InvalidDag, match=message):
        await _preview(world, *jobs)


async def test_a_foreign_key_that_propagates_writes_to_any_table_is_rejected(
    orders: Database,
) -> None:
    async with orders.connection() as conn:
        await conn.execute(_MART.encode())
        await conn.execute("CREATE TABLE notes (mart int REFERENCES mart ON DELETE CASCADE)")
    message = r"changes public\.notes through the foreign key notes_mart_fkey: make its actions NO"
    with pytest.raises(InvalidDag, match=message):
        await World.made(orders, source("orders"), _copy(table="mart", adopt=True))


async def test_foreign_keys_that_propagate_no_writes_are_accepted(orders: Database) -> None:
    async with orders.connection() as conn:
        await conn.execute(_MART.encode())
        await conn.execute(
            "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES mart;"
            "ALTER TABLE mart ADD FOREIGN KEY (up) REFERENCES mart ON DELETE CASCADE"
        )
    await World.made(orders, source("orders"), _copy(table="mart", adopt=True))


async def test_a_rule_of_an_adopted_table_is_rejected(orders: Database) -> None:
    async with orders.connection() as conn:
        await conn.execute(_MART.encode())
        await conn.execute("CREATE RULE r AS ON DELETE TO mart DO INSTEAD DELETE FROM orders")
    with pytest.raises(InvalidDag, match=r"public.mart has the rule r, which rewrites"):
        await World.made(orders, source("orders"), _copy(table="mart", adopt=True))


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (
            "CREATE UNIQUE INDEX one ON copy (id);"
            "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES copy (id) ON DELETE CASCADE",
            "changes public.orders, which holds source dataset 'orders'",
        ),
        ("CREATE RULE r AS ON DELETE TO copy DO INSTEAD DELETE FROM orders", "has the rule r"),
    ],
)
async def test_workers_refuse_their_table_if_its_writes_propagate(
    orders: Database, statements: str, message: str
) -> None:
    world = await World.made(orders, source("orders"), _copy())
    await world.changed("orders", "2013-02-12..2013-02-13")
    await work(world)
    async with world.conn() as conn:
        await conn.execute(statements.encode())
        await conn.execute("UPDATE orders SET dt = '2013-02-14' WHERE id = 2")
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(InvalidInput, match=message):
        await run_lease(world, lease)

    assert await _count(world, "orders") == 2


async def test_a_captured_table_is_a_source_under_any_name(
    orders: Database,
) -> None:
    ev = {**source("ev"), "source": {"kind": "postgres", "table": "ev"}}
    ev["outputs"][0]["storage"] = {"table": "elsewhere"}
    world = await World.made(orders, source("orders"), ev, _copy(table="raw.old", adopt=True))
    async with await AsyncConnection.connect(orders.url, autocommit=True) as conn:
        await conn.execute("SET search_path = raw")
        tenant = Tenant(str(world.org.id), "postgres")
        await attach(conn, tenant, "ev", "ev", {})
        await attach(conn, tenant, "old", "ev", {})
    jobs = [source("orders"), ev]
    message = r"changes raw.ev, which holds source dataset 'ev'"

    with pytest.raises(InvalidDag, match=message):
        await world.deploy(*jobs, _copy(table="raw.ev_2013", adopt=True))
    with pytest.raises(InvalidDag, match=message):
        await _preview(world, *jobs, _copy(table="raw.ev", adopt=True))
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    with pytest.raises(InvalidInput, match=r"changes raw.old, which holds source dataset 'ev'"):
        await run_lease(world, lease)
    await world.deploy(source("orders"), _copy(table="raw.ev", adopt=True))


async def test_an_output_attached_as_itself_is_rejected(orders: Database) -> None:
    """Every run would log a change of its own output, and so cause the next run."""
    jobs = [source("orders"), _copy(table="raw.copy")]
    world = await World.made(orders, *jobs)
    await world.changed("orders", "2013-02-13")
    await work(world)
    async with await AsyncConnection.connect(orders.url, autocommit=True) as conn:
        await attach(conn, Tenant(str(world.org.id), "postgres"), "raw.copy", "copy", {})
    message = (
        "table raw.copy is attached as dataset 'copy', .*: "
        "run 'knockon detach raw.copy --dataset copy'"
    )

    with pytest.raises(InvalidDag, match=message):
        await _preview(world, *jobs)
    with pytest.raises(InvalidDag, match=message):
        await world.deploy(*jobs)
    await world.changed("orders", "2013-02-12")
    (lease,) = await world.claim()
    with pytest.raises(InvalidInput, match=message):
        await run_lease(world, lease)


async def test_a_table_captured_by_another_org_is_not_overwritten(orders: Database) -> None:
    world, other = await _two_orgs(orders)
    await other.deploy(source("ev"))
    async with await AsyncConnection.connect(orders.url, autocommit=True) as conn:
        tenant = Tenant(str(other.org.id), "postgres")
        await attach(conn, tenant, "public.shared", "ev", {})

    await world.deploy(*ADOPTED)
    await _grant(other, "other", "shared", "read")
    with pytest.raises(InvalidDag, match="holds a dataset of another org"):
        await world.deploy(*ADOPTED)


@pytest.mark.parametrize(
    "name", ["\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "ß", "ẞ", "\N{KELVIN SIGN}", "Ä" * 40]
)
async def test_names_beyond_ascii_are_folded_as_by_the_server(orders: Database, name: str) -> None:
    async with orders.connection() as conn:
        await conn.execute(f"CREATE TABLE raw.X{name}X (id int, dt date)".encode())
        newest = "SELECT relname FROM pg_class WHERE relkind = 'r' ORDER BY oid DESC LIMIT 1"
        (row,) = await (await conn.execute(newest)).fetchall()
        await conn.execute(
            SQL("CREATE TABLE raw.part () INHERITS (raw.{})").format(Identifier(row["relname"]))
        )
    ev = {**source("ev"), "source": {"kind": "postgres", "table": f"raw . X{name}X"}}
    ev["outputs"][0]["storage"] = {"table": "elsewhere"}
    quoted = '"' + row["relname"] + '"'

    with pytest.raises(InvalidDag, match="holds source dataset 'ev'"):
        await World.made(orders, source("orders"), ev, _copy(table=f"raw.{quoted}", adopt=True))
    world = await World.made(orders, source("orders"), ev)
    with pytest.raises(InvalidDag, match="holds source dataset 'ev'"):
        await world.deploy(_copy(table="raw.part", adopt=True), dag="second")


async def test_sources_of_the_deployed_dag_are_protected(orders: Database) -> None:
    with pytest.raises(InvalidDag, match=r"changes raw.ev, which holds source dataset 'ev'"):
        await World.made(orders, source("orders"), EV, _copy(table="raw.ev_2013", adopt=True))


async def test_a_parent_of_a_source_is_not_overwritten(orders: Database) -> None:
    heir = source("heir")
    heir["outputs"][0]["storage"] = {"table": "raw.heir"}
    with pytest.raises(InvalidDag, match=r"changes raw.heir, which holds source dataset 'heir'"):
        await World.made(orders, source("orders"), heir, _copy(table="raw.old", adopt=True))


async def test_a_table_of_another_org_is_rejected_without_its_dataset_name(
    orders: Database,
) -> None:
    world = await World.made(orders, source("orders"), _copy("secret", table="mart.t"))
    async with world.conn() as conn:
        other = World(orders, OrgContext(await ensure_org(conn, "other")))

    for table in ("mart.t", "orders"):
        with pytest.raises(InvalidDag, match="holds a dataset of another org") as refused:
            await other.deploy(
                {**source("theirs"), "source": {"kind": "manual"}},
                {
                    **_copy(table=table, adopt=True),
                    "inputs": [{"dataset": "theirs", "as": "orders"}],
                },
            )
        assert "secret" not in str(refused.value)


async def _two_orgs(orders: Database) -> tuple[World, World]:
    """Two orgs without grants on the tables in their files."""
    async with orders.connection() as conn:
        await conn.execute("UPDATE knockon.orgs SET settings = '{}'")
        await conn.execute("CREATE TABLE shared (id int, dt date)")
        other = World(orders, OrgContext(await ensure_org(conn, "other")))
    return await World.made(orders, source("orders")), other


async def _grant(world: World, org: str, table: str, access: Access) -> None:
    async with world.conn() as conn:
        await grant_to_org(conn, org, parse_grant(table, access))


def _reading(table: str) -> dict[str, Any]:
    theirs = source("theirs")
    theirs["outputs"][0]["storage"] = {"table": table}
    return theirs


ADOPTED = [source("orders"), _copy(table="shared", adopt=True)]


async def test_a_dag_file_of_another_org_does_not_reserve_a_table(orders: Database) -> None:
    world, other = await _two_orgs(orders)
    await other.deploy(_reading("shared"), source("x"), _copy_of_x("planned"))

    await world.deploy(*ADOPTED, _copy("planned"))


def _copy_of_x(name: str) -> dict[str, Any]:
    return {**_copy(name), "inputs": [{"dataset": "x", "as": "orders"}]}


async def test_a_source_granted_to_another_org_is_not_overwritten(orders: Database) -> None:
    world, other = await _two_orgs(orders)
    await other.deploy(_reading("shared"))
    await _grant(other, "other", "shared", "read")

    with pytest.raises(InvalidDag, match="holds a dataset of another org"):
        await world.deploy(*ADOPTED)
    await _grant(world, "default", "shared", "write")
    await world.deploy(*ADOPTED)


async def test_a_table_writable_by_another_org_is_not_overwritten(orders: Database) -> None:
    world, other = await _two_orgs(orders)
    written = {**_copy_of_x("w"), "outputs": ADOPTED[1]["outputs"]}
    await other.deploy(source("x"), written)
    await _grant(other, "other", "shared", "write")
    await _grant(world, "default", "shared", "write")

    with pytest.raises(InvalidDag, match="holds a dataset of another org"):
        await world.deploy(*ADOPTED)


async def test_an_org_keeps_its_table_when_another_may_read_it(orders: Database) -> None:
    world, other = await _two_orgs(orders)
    async with world.conn() as conn:
        await grant_to_org(conn, "default", parse_grant("orders", "read"))
        await grant_to_org(conn, "default", parse_grant("public", "create"))
    jobs = [source("orders"), _copy()]
    await world.deploy(*jobs)
    await world.changed("orders", "2013-02-13")
    await work(world)
    await _grant(other, "other", "copy", "read")
    await other.deploy(_reading("copy"))

    await world.deploy(*jobs, _copy("more", table="copy2"))
    await world.deploy(source("orders"), _copy(adopt=True))
    await world.changed("orders", "2013-02-13")
    await work(world)


async def test_a_planned_table_belongs_to_the_org_that_may_create_it(orders: Database) -> None:
    world, other = await _two_orgs(orders)
    await other.deploy(source("x"), _copy_of_x("planned"))
    await _grant(other, "other", "public", "create")

    with pytest.raises(InvalidDag, match="holds a dataset of another org"):
        await world.deploy(source("orders"), _copy("mine", table="planned"))


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("CREATE TABLE copy (id int, dt date)", "copy exists, and Knockon did not create it"),
        ("CREATE VIEW copy AS SELECT * FROM orders", "public.copy is a view"),
    ],
)
async def test_workers_refuse_dependencies_added_after_the_deploy(
    orders: Database, statements: str, message: str
) -> None:
    world = await World.made(orders, source("orders"), _copy())
    async with world.conn() as conn:
        await conn.execute(statements.encode())
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(InvalidInput, match=message):
        await run_lease(world, lease)

    assert await _count(world, "orders") == 2


async def test_workers_refuse_a_table_that_became_part_of_a_source(orders: Database) -> None:
    ev, job = EV, _copy()
    world = await World.made(orders, source("orders"), ev, job)
    await world.changed("orders", "2013-02-13")
    await work(world)
    async with world.conn() as conn:
        await conn.execute("DELETE FROM copy")
        await conn.execute(
            "ALTER TABLE raw.ev ATTACH PARTITION copy"
            " FOR VALUES FROM ('2014-01-01') TO ('2015-01-01')"
        )
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()

    with pytest.raises(InvalidInput, match=r"changes raw.ev, which holds source dataset 'ev'"):
        await run_lease(world, lease)


async def test_a_table_is_free_after_its_dataset_moves(orders: Database) -> None:
    world = await World.made(orders, source("orders"), _copy("first", table="t"))
    await world.changed("orders", "2013-02-12..2013-02-13")
    await work(world)
    before = await world.rows("SELECT 't'::regclass::oid AS oid")
    jobs = [source("orders"), _copy("first", table="elsewhere")]

    with pytest.raises(InvalidDag, match="created for another dataset and holds its rows"):
        await world.deploy(*jobs, _copy("second", table="t"))
    await world.deploy(*jobs, _copy("second", table="t", adopt=True))
    await world.changed("orders", "2013-02-13")
    await work(world)

    assert await world.rows("SELECT 't'::regclass::oid AS oid") != before


async def test_adopting_a_table_rebuilds_nothing(orders: Database) -> None:
    world = await World.made(orders, source("orders"), _copy())
    await world.changed("orders", "2013-02-13")
    await work(world)

    deployed = await world.deploy(source("orders"), _copy(adopt=True))

    assert (deployed.dags[0].diff.regenerated, deployed.tasks) == ({}, 0)


async def _preview(world: World, *jobs: dict[str, Any]) -> None:
    import json

    dag = parse_dag(json.dumps({"dag": "w", "jobs": list(jobs)}), where="w.yaml")
    async with world.conn() as conn:
        await preview(conn, world.org, [dag])


async def _count(world: World, table: str) -> int:
    (row,) = await world.rows(f"SELECT count(*) AS n FROM {table}")
    return int(row["n"])
