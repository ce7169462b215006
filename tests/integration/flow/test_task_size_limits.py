"""A task joined again and again by changes holds a bounded number of plans and row filters."""

from uuid import UUID

import pytest
from psycopg.rows import DictRow

from engine.flow.execution.fail import fail
from engine.model.task import Lease
from engine.service.queries.progress import progress
from engine.store.database import Database
from tests.integration.flow.test_cursors import FOLLOWED, follower
from tests.support.worlds import World, job, source


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a", {}), follower())


async def failed(world: World, lease: Lease) -> None:
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "it broke", retryable=False)


async def joined(world: World, changes: int) -> tuple[DictRow, UUID]:
    """A failed task joined by this number of changes, and the first change."""
    await world.changed("a", reason="arrival")
    (lease,) = await world.claim()
    await failed(world, lease)
    first = (await world.change("a", rows={"carrier": "c0"})).invalidations[0]
    await world.plan()
    for n in range(1, changes):
        await world.changed("a", rows={"carrier": f"c{n}"})
    (row,) = await world.rows("SELECT * FROM tasks WHERE status = 'queued'")
    return row, first


async def test_few_row_filters_are_kept(world: World) -> None:
    row, _ = await joined(world, 40)
    assert len(row["row_filters"]) == 41  # including the filter of new rows


async def test_many_row_filters_are_widened_to_all_rows(world: World) -> None:
    row, _ = await joined(world, 55)
    assert row["row_filters"] == [None]


async def test_large_row_filters_are_widened_to_all_rows(world: World) -> None:
    for n in range(3):
        names = [f"a rather long name of a carrier {n} {i}" for i in range(1_500)]
        await world.changed("a", rows={"carrier": {"in": names}})
    (row,) = await world.rows("SELECT row_filters FROM tasks")
    assert row["row_filters"] == [None]


async def test_the_newest_plans_are_kept_and_progress_of_older_ones_is_found(
    world: World,
) -> None:
    row, first = await joined(world, 110)
    assert len(row["plan_ids"]) == 100
    found = await progress(world.caller, world.service, [first])
    assert (found.is_over, found.tasks) == (False, {"queued": 1})


async def test_a_failed_attempt_hands_over_within_the_limits(world: World) -> None:
    row, first = await joined(world, 70)
    (lease,) = await world.claim()
    for n in range(70):
        await world.changed("a", rows={"carrier": f"d{n}"})
    await failed(world, lease)
    (row,) = await world.rows("SELECT * FROM tasks WHERE status = 'queued'")
    assert (row["row_filters"], len(row["plan_ids"])) == ([None], 100)
    assert (await progress(world.caller, world.service, [first])).tasks["queued"] == 1


@pytest.mark.parametrize(
    "rows",
    [
        {"a": "x", "b": {"gte": "y"}},
        {"a": "x", "b": "y"},
        {"a": {"gte": "m"}, "b": {"gte": "a"}},
    ],
)
async def test_two_columns_passed_into_one_column_widen_the_filter(
    database: Database, rows: dict[str, object]
) -> None:
    first = source("a", {})
    first["outputs"][0]["columns"] = ["id", "a", "b"]
    passing = {"dataset": "a", "passes": {"a": ["q"], "b": ["q"]}}
    middle = job("f", passing, partitioning={}, columns={"id": ["a.id"], "q": ["a.a", "a.b"]})
    last = follower() | {"inputs": [FOLLOWED | {"dataset": "f"}]}
    world = await World.made(database, first, middle, last)
    await world.changed("a")
    await world.run()
    await world.changed("a", rows=rows)
    (row,) = await world.rows(
        "SELECT row_filters FROM tasks t JOIN jobs j ON j.id = t.job_id "
        "WHERE j.name = 'log' AND t.status = 'blocked'"
    )
    assert row["row_filters"] == [None]
