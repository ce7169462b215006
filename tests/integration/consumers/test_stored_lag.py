"""The lag of a process's consumers is stored with their positions, without waiting for them."""

import asyncio
from collections.abc import Iterator

import pytest

from consumers.kafka.lag import clear_lag
from consumers.stored_lag import lags_of, store_lag
from engine.monitor.metrics import CHANGE_LOG_ROWS, CHANGE_LOG_SECONDS, KAFKA_LAG
from engine.store.database import Database
from tests.support.worlds import World, source

NAME = "knockon.lagging"


@pytest.fixture(autouse=True)
def lags() -> Iterator[None]:
    """The metrics of two consumers of the process."""
    for name, partition, lag in ((NAME, 0, 3), (NAME, 1, 0), ("knockon.another", 0, 99)):
        KAFKA_LAG.labels(name, "t", partition).set(lag)
    for name in (NAME, "knockon.another"):
        CHANGE_LOG_ROWS.labels(name).set(7)
        CHANGE_LOG_SECONDS.labels(name).set(2.5)
    yield
    for name in (NAME, "knockon.another"):
        clear_lag(name)
        CHANGE_LOG_ROWS.remove(name)
        CHANGE_LOG_SECONDS.remove(name)


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(database, source("a"))
    for consumer, stream, age in (
        (NAME, "kafka/t/0", 0),
        (NAME, "kafka/t/1", 0),
        (NAME, "postgres/1/1/db", 9),
        (NAME, "postgres/1/2/db", 1),
        ("knockon.another", "kafka/t/0", 0),
    ):
        await world.rows(
            "INSERT INTO consumer_positions (org_id, consumer, stream, position, updated_at) VALUES"
            " (%s, %s, %s, '1', now() - %s * interval '1 day') RETURNING 1",
            *(world.org.id, consumer, stream, age),
        )
    return world


async def stored(world: World) -> dict[tuple[str, str], tuple[int | None, float | None]]:
    rows = await world.rows(
        "SELECT consumer, stream, lag, lag_seconds FROM consumer_positions "
        "WHERE consumer LIKE 'knockon.%%'"
    )
    return {
        (row["consumer"].removeprefix("knockon."), row["stream"]): (row["lag"], row["lag_seconds"])
        for row in rows
    }


def test_the_metrics_of_one_consumer_are_read() -> None:
    assert sorted(lags_of(NAME)) == [
        ("kafka/t/0", 3, None),
        ("kafka/t/1", 0, None),
        ("postgres", 7, 2.5),
    ]
    assert list(lags_of("knockon.none")) == []


async def test_lag_is_stored_with_the_positions(world: World) -> None:
    async with world.conn() as conn:
        await store_lag(conn, world.org.id, "knockon.none")
        assert {*(await stored(world)).values()} == {(None, None)}
        await store_lag(conn, world.org.id, NAME)
    assert await stored(world) == {
        ("lagging", "kafka/t/0"): (3, None),
        ("lagging", "kafka/t/1"): (0, None),
        ("lagging", "postgres/1/1/db"): (None, None),  # of a former timeline
        ("lagging", "postgres/1/2/db"): (7, 2.5),
        ("another", "kafka/t/0"): (None, None),
    }


async def test_a_position_in_use_is_left_for_the_next_report(world: World) -> None:
    async with world.conn() as ingesting, world.conn() as conn:
        async with ingesting.transaction():
            await ingesting.execute(
                b"UPDATE consumer_positions SET position = '2' WHERE stream = 'kafka/t/0'"
            )
            async with asyncio.timeout(30):
                await store_lag(conn, world.org.id, NAME)
        found = await stored(world)
        assert found["lagging", "kafka/t/0"] == (None, None)
        assert found["lagging", "kafka/t/1"] == (0, None)
        await store_lag(conn, world.org.id, NAME)
    assert (await stored(world))["lagging", "kafka/t/0"] == (3, None)
