"""Two orgs with a shared source are isolated from each other."""

from hashlib import sha256

import pytest

from consumers.postgres.log import START, acknowledge, read_page, trim
from consumers.postgres.readers import attached_datasets, state
from engine.errors import UnknownName
from tests.integration.consumers.postgres.conftest import OTHER, TENANT, Source

DAILY = {"day": {"time": "day"}}
MONTHLY = {"day": {"time": "month"}}


@pytest.fixture
async def orders(source: Source) -> Source:
    await source.run(
        "CREATE TABLE orders (id int PRIMARY KEY, day date)",
        "INSERT INTO orders VALUES (1, '2026-01-01')",
    )
    await source.attach("orders", DAILY, dataset="orders")
    return source


async def taken(source: Source, tenant) -> list[str]:
    page = await read_page(source.connection, START, tenant.org, None, 100)
    return [text for _, text in page.changes]


async def test_each_org_has_its_own_capture(orders):
    await orders.attach("orders", MONTHLY, dataset="orders", tenant=OTHER)
    await orders.run("INSERT INTO orders VALUES (2, '2026-01-05')")
    (first,), (second,) = await taken(orders, TENANT), await taken(orders, OTHER)
    assert '["2026-01-05"]' in first
    assert '["2026-01"]' in second


async def test_detaching_one_org_keeps_the_capture_of_another(orders):
    await orders.attach("orders", MONTHLY, dataset="orders", tenant=OTHER)
    await orders.detach("orders", "orders", OTHER)
    await orders.run("INSERT INTO orders VALUES (2, '2026-01-06')")
    assert len(await taken(orders, TENANT)) == 1
    assert await taken(orders, OTHER) == []
    with pytest.raises(UnknownName, match="not attached"):
        await orders.detach("orders", "orders", OTHER)


async def test_an_org_sees_neither_changes_nor_datasets_of_another(orders):
    await orders.attach("orders", MONTHLY, dataset="secret", tenant=OTHER, announce=True)
    assert await taken(orders, TENANT) == []
    assert await attached_datasets(orders.connection, TENANT.org) == ["orders"]


async def test_an_announcement_waits_for_the_first_reader_of_its_org(orders):
    """Regardless of the progress of readers of other orgs."""
    await orders.attach("orders", MONTHLY, dataset="orders", tenant=OTHER, announce=True)
    for _ in range(2):
        page = await read_page(orders.connection, START, TENANT.org, None, 100)
        await acknowledge(orders.connection, TENANT, page.position)
        assert await trim(orders.connection) == 0
    assert len(await taken(orders, OTHER)) == 1


async def test_a_reader_does_not_prevent_trimming_of_other_orgs(orders, ledger, running):
    await orders.attach("orders", MONTHLY, dataset="orders", tenant=OTHER)
    async with running(heartbeat_seconds=0.05, poll_seconds=0.05):
        await orders.run("INSERT INTO orders VALUES (2, '2026-01-05')")
        await ledger.until(1)
        await orders.detach("orders", "orders", TENANT)
        await orders.run("INSERT INTO orders VALUES (3, '2026-01-05')")
        while (await state(orders.connection)).is_behind(TENANT.consumer):
            pass


async def test_a_reader_of_another_org_under_the_same_name_is_replaced(orders):
    page = await read_page(orders.connection, START, TENANT.org, None, 100)
    await acknowledge(orders.connection, TENANT, page.position)
    mine = type(TENANT)(OTHER.org, TENANT.consumer)
    await orders.attach("orders", MONTHLY, dataset="orders", tenant=mine)
    (row,) = await orders.rows("SELECT org::text, position FROM knockon_source.readers")
    assert row.org == OTHER.org
    assert "count" not in row.position


LEGACY = """
CREATE SCHEMA knockon_source;
CREATE TABLE knockon_source.changes (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(), id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    source text, dataset text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('insert', 'update', 'delete', 'truncate')),
    partitions text[], columns text[], rows bigint,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (xid, id));
CREATE TABLE knockon_source.readers (
    consumer text PRIMARY KEY, position text NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE knockon_source.repeats (
    zone text, grain text, bucket timestamp, last text NOT NULL,
    PRIMARY KEY (zone, grain, bucket));
CREATE TABLE orders (id int PRIMARY KEY, day date)
"""


async def earlier_version(source: Source) -> None:
    """A log and an attachment from before the separation of orgs."""
    await source.run(LEGACY)
    ((oid,),) = await source.rows("SELECT 'orders'::regclass::oid::int AS oid")
    name = f"knockon_{sha256(b'orders').hexdigest()[:12]}_insert"
    await source.run(
        f"""CREATE FUNCTION knockon_source.{name}_{oid}() RETURNS trigger LANGUAGE plpgsql AS $f$
            BEGIN INSERT INTO knockon_source.changes (dataset, kind, partitions)
                VALUES ('orders', 'insert', '{{2026-01-01}}'); RETURN NULL; END $f$""",
        f"COMMENT ON FUNCTION knockon_source.{name}_{oid}() IS 'orders'",
        f"CREATE TRIGGER {name} AFTER INSERT ON orders"
        f" FOR EACH STATEMENT EXECUTE FUNCTION knockon_source.{name}_{oid}()",
        "INSERT INTO orders VALUES (1, '2026-01-01')",
    )


async def test_upgrading_the_log_loses_nothing(source, ledger, running):
    await earlier_version(source)
    async with running(datasets={"orders"}):
        await ledger.until(1)
        await source.run("INSERT INTO orders VALUES (2, '2026-01-01')")
        await ledger.until(1)
        await source.attach("orders", DAILY, dataset="orders")
        await source.run("INSERT INTO orders VALUES (3, '2026-01-02')")
        await ledger.until(3)
    events = [each.event for batch in ledger.batches for each in batch.received]
    assert [event.partitions for event in events] == [
        ("2026-01-01",), ("2026-01-01",), ("2026-01-02",)
    ]  # fmt: skip


async def test_the_capture_of_an_earlier_version_is_kept_while_it_has_readers(source):
    await earlier_version(source)
    await source.run(
        "INSERT INTO knockon_source.readers VALUES ('else', '{\"seen\":\"1:1:\"}', now())"
    )
    await source.attach("orders", DAILY, dataset="orders")
    await source.run("INSERT INTO orders VALUES (2, '2026-01-02')")
    rows = await source.rows("SELECT org IS NULL AS legacy FROM knockon_source.changes ORDER BY id")
    assert sorted(rows) == [(False,), (True,), (True,)]
