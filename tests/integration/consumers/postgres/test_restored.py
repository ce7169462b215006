"""A database restored to an earlier state is detected, and everything counts as changed."""

import pytest

from consumers.postgres.log import START, Position, acknowledge, read_page, stream_name
from consumers.postgres.readers import enter
from engine.model.event import Widened
from tests.integration.consumers.postgres.conftest import CONSUMER, TENANT, Source

ORIGIN = {"origin": {"dynamic": True}}


@pytest.fixture
async def t(source: Source) -> Source:
    await source.run("CREATE TABLE t (id int PRIMARY KEY, origin text)")
    await source.attach("t", ORIGIN)
    return source


async def write(source: Source, id_: int) -> None:
    await source.run(f"INSERT INTO t VALUES ({id_}, 'JFK')")


def widened(ledger) -> list[bool]:
    return [isinstance(e.event, Widened) for batch in ledger.batches for e in batch.received]


async def test_restoring_the_knockon_database_counts_as_a_change_of_everything(
    t, ledger, running, database
):
    async with running():
        await write(t, 1)
        await ledger.until(1)
    backup = await ledger.positions()
    async with running():
        await write(t, 2)
        await ledger.until(2)
    async with database.connection() as conn:
        for position in backup.values():
            await conn.execute("UPDATE consumer_positions SET position = %s", [position])
    async with running():
        await ledger.until(4)
        await write(t, 3)
        await ledger.until(5)
    assert widened(ledger) == [False, False, True, False, False]
    async with running():
        await write(t, 4)
        await ledger.until(6)
    assert widened(ledger)[5:] == [False]


async def test_restoring_the_knockon_database_to_before_the_first_change(
    t, ledger, running, database
):
    async with running():
        await write(t, 1)
        await ledger.until(1)
    async with database.connection() as conn:
        await conn.execute("DELETE FROM consumer_positions")
    async with running():
        await ledger.until(3)
    assert widened(ledger) == [False, True, False]


SAVED = (
    "CREATE TABLE saved AS TABLE knockon_source.readers",
    "CREATE TABLE saved_changes AS TABLE knockon_source.changes",
)
PUT_BACK = (
    "DELETE FROM knockon_source.readers",
    "INSERT INTO knockon_source.readers SELECT * FROM saved",
    "DELETE FROM knockon_source.changes",
)


@pytest.mark.parametrize("pages", [1, 2])
async def test_restoring_a_source_from_a_disk_snapshot_counts_as_a_change(
    t, ledger, running, pages
):
    async with running():
        await write(t, 1)
        await ledger.until(1)
    await t.run(*SAVED)
    for n in range(pages):
        async with running():
            await write(t, 2 + n)
            await ledger.until(2 + n)
    await t.run(*PUT_BACK)
    async with running():
        await ledger.until(3 + pages)
    assert widened(ledger) == [False] * (1 + pages) + [True, False]


@pytest.mark.parametrize(("part", "counts"), [("timeline", True), ("database", False)])
async def test_only_positions_of_an_earlier_timeline_of_the_database_count(
    t, ledger, running, database, part, counts
):
    kind, cluster, timeline, name = (await stream_name(t.connection)).split("/")
    timeline, name = ("0", name) if part == "timeline" else (timeline, "other")
    position = Position(START.seen, count=5, last=(1, 1, 1))
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO consumer_positions (org_id, consumer, stream, position) "
            "SELECT id, %s, %s, %s FROM orgs",
            [CONSUMER, f"{kind}/{cluster}/{timeline}/{name}", position.to_text()],
        )
    await write(t, 1)
    async with running():
        await ledger.until(1)
    assert widened(ledger)[0] is counts


async def test_a_crash_between_the_two_commits_is_no_gap(t):
    before = await enter_at(t, None)
    assert before is None
    await write(t, 1)
    page = await read_page(t.connection, START, TENANT.org, None, 10)
    assert await enter_at(t, page.position) is None
    await acknowledge(t.connection, TENANT, page.position)
    assert await enter_at(t, page.position) is None


async def test_a_slower_consumer_does_not_move_the_position_back(t):
    await write(t, 1)
    page = await read_page(t.connection, START, TENANT.org, None, 10)
    await write(t, 2)
    later = await read_page(t.connection, page.position, TENANT.org, None, 10)
    await acknowledge(t.connection, TENANT, later.position)
    await acknowledge(t.connection, TENANT, page.position)
    assert await enter_at(t, later.position) is None
    (row,) = await t.rows(
        f"SELECT position FROM knockon_source.readers WHERE consumer='{CONSUMER}'"
    )
    assert Position.from_text(row.position) == later.position


async def enter_at(source: Source, position: Position | None) -> Position | None:
    async def stored() -> Position | None:
        return position

    return await enter(source.connection, TENANT, stored)
