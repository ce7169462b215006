"""Positions of consumers with their lag, and the reason why a stream does not move."""

import pytest

from engine.service.queries.positions import Position, positions
from engine.store.database import Database
from tests.support.worlds import World, source


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(
        database,
        source("a", source={"kind": "kafka", "topic": "t"}),
        source("n", source={"kind": "schedule", "cron": "0 2 * * *"}),
    )


async def at(world: World, stream: str, moved: int, lag: int | None, reported: int | None) -> None:
    """A position that was moved and reported some seconds ago."""
    await world.rows(
        "INSERT INTO consumer_positions (org_id, consumer, stream, position, updated_at, lag,"
        " lag_at) VALUES (%s, 'knockon.default', %s, '7', now() - %s * interval '1 s', %s,"
        " now() - %s * interval '1 s') RETURNING 1",
        *(world.org.id, stream, moved, lag, reported),
    )


async def listed(world: World) -> dict[str, Position]:
    return {row.stream: row for row in await positions(world.caller, world.service)}


async def test_streams_that_move_have_no_problem(world: World) -> None:
    await at(world, "kafka/t/0", moved=900, lag=0, reported=5)
    await at(world, "kafka/t/1", moved=5, lag=300, reported=5)
    await at(world, "kafka/t/2", moved=5, lag=None, reported=None)
    rows = await listed(world)
    assert {row.problem for row in rows.values()} == {None}
    assert [rows[f"kafka/t/{number}"].lag for number in range(3)] == [0, 300, None]
    assert rows["kafka/t/0"].is_read
    assert not rows["schedule/n"].is_read


@pytest.mark.parametrize(
    ("moved", "lag", "reported", "problem"),
    [
        (900, 3, 5, "not moved for 15m, 3 messages behind: see the consumer's log"),
        (
            900,
            3,
            600,
            "no consumer has reported for 10m: start 'knockon consume', or see its log",
        ),
        (
            900,
            None,
            None,
            "no consumer has reported for 15m: start 'knockon consume', or see its log",
        ),
    ],
)
async def test_the_reason_of_a_stop_is_given(
    world: World, moved: int, lag: int | None, reported: int | None, problem: str
) -> None:
    await at(world, "kafka/t/0", moved, lag, reported)
    assert (await listed(world))["kafka/t/0"].problem == problem


async def test_streams_that_nothing_reads_have_no_problem(world: World) -> None:
    await at(world, "kafka/former/0", moved=900, lag=3, reported=900)
    row = (await listed(world))["kafka/former/0"]
    assert (row.is_read, row.problem) == (False, None)


async def test_only_the_newest_position_of_a_change_log_is_read(world: World) -> None:
    await world.deploy(
        source("o", source={"kind": "postgres", "table": "public.orders"}), dag="tables"
    )
    await at(world, "postgres/1/1/db", moved=9_000, lag=3, reported=9_000)
    await at(world, "postgres/1/2/db", moved=900, lag=3, reported=5)
    rows = await listed(world)
    assert [rows[f"postgres/1/{timeline}/db"].is_read for timeline in (1, 2)] == [False, True]
    assert rows["postgres/1/1/db"].problem is None
    assert "not moved for 15m" in (rows["postgres/1/2/db"].problem or "")
