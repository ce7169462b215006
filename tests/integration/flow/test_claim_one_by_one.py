"""A failing claim of one task does not prevent the claims of other tasks."""

import psycopg
import pytest

from engine.flow.execution import claim as claiming
from engine.flow.execution import reap as reaping
from engine.flow.execution.reap import reap
from engine.store.database import Database
from engine.store.rows.tasks import ExpiredTask
from tests.support.worlds import World, job, name_of, source

DAYS = [f"2013-02-{day}" for day in range(10, 17)]


@pytest.fixture
async def world(database: Database) -> World:
    world = await World.made(
        database,
        source("a"),
        job("b", {"dataset": "a", "mapping": {"dt": {"from": "dt", "window": [-1, 0]}}}),
    )
    await world.changed("a", *DAYS[:-1])
    return world


@pytest.mark.parametrize("place", [0, 3, 6])
@pytest.mark.parametrize("at_once", [1, 4, 1_000])
async def test_tasks_besides_an_invalid_one_are_claimed(
    world: World, place: int, at_once: int
) -> None:
    await world.rows(
        "UPDATE tasks SET partitions = '{nonsense}' WHERE block_key = %s RETURNING id", DAYS[place]
    )
    claimed: list[str] = []
    for _ in range(20):
        claimed += [name_of(lease) for lease in await world.claim(at_once)]
    assert sorted(claimed) == [f"b[{day}]" for day in DAYS if day != DAYS[place]]
    (row,) = await world.rows("SELECT block_key, error_message FROM tasks WHERE status = 'failed'")
    assert row["block_key"] == DAYS[place]
    assert "nonsense" in row["error_message"]


async def test_an_outage_fails_no_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(claiming, "input_versions", fails)
    with pytest.raises(psycopg.OperationalError):
        await world.claim()
    monkeypatch.undo()
    assert len(await world.claim()) == len(DAYS)


async def test_an_attempt_that_cannot_be_ended_does_not_prevent_reaping_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = sorted(await world.claim(3), key=lambda lease: lease.task_id)
    await world.rows("UPDATE tasks SET lease_expires_at = now() - interval '1 min' RETURNING id")
    end = reaping.end_attempt

    async def fails(conn: object, org: object, row: ExpiredTask, error: str) -> None:
        if row.id != leases[2].task_id:
            raise KeyError("a job that is gone")
        await end(conn, org, row, error)  # type: ignore[arg-type]

    monkeypatch.setattr(reaping, "end_attempt", fails)
    async with world.conn() as conn:
        assert await reap(conn, world.org, limit=1) == 1
        assert await reap(conn, world.org, limit=1) == 0
    rows = await world.rows("SELECT id FROM tasks WHERE status = 'running' ORDER BY id")
    assert [row["id"] for row in rows] == sorted(lease.task_id for lease in leases[:2])
