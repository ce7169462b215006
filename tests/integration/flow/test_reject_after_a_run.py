"""Rejecting a plan after its job ran for another cause leaves nothing stale by the run."""

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from engine.flow.execution.cancel import cancel
from engine.flow.execution.fail import fail
from engine.flow.planning.approve import reject
from engine.flow.planning.audit import audit_all
from engine.model.task import Lease, Output
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


@dataclass
class Pair:
    """`j` has column x of source a and y of b; `rx` and `ry` read one each, `both` x and `rx`."""

    world: World
    by_column: bool
    sources: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    tables: dict[str, dict[str, int]] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            for lease in await self.world.claim():
                await self.finish(lease)
            if await self.world.plan() is None and not (await self.world.tasks()).get("queued"):
                return

    async def finish(self, lease: Lease) -> None:
        name, j = lease.job.name, self.tables.get("j", {})
        made = {
            "j": {"x": self.sources["a"], "y": self.sources["b"]},
            "rx": {"x": j.get("x", -1)},
            "ry": {"y": j.get("y", -1)},
            "both": {"x": j.get("x", -1)},
        }[name]
        self.tables[name] = made
        columns = {column: str(value) for column, value in made.items()}
        output = Output(
            name,
            DAY,
            str(made),
            column_fingerprints=columns if self.by_column else None,
            row_count=1,
        )
        await self.world.complete(lease, output)

    async def limit(self, number: int | None) -> None:
        async with self.world.conn() as conn:
            await set_setting(conn, self.world.org.id, "blast_radius", number)

    async def pending(self, dataset: str, column: str, value: int) -> UUID:
        """Change a source; return the plan, pending approval."""
        self.sources[dataset] = value
        await self.limit(0)
        await self.world.change(dataset, DAY, columns=(column,))
        planned = await self.world.plan()
        await self.limit(None)
        assert planned
        return planned.plan_id

    async def reject(self, plan: UUID) -> None:
        async with self.world.conn() as conn:
            await reject(conn, self.world.org, plan)

    async def stale(self) -> list[tuple[str, str]]:
        """Return the stale datasets, each with its verdict."""
        async with self.world.conn() as conn:
            counts = await audit_all(conn, self.world.org)
        return [(partition.dataset, partition.verdict) for partition in counts.shown]


async def _pair(database: Database, *, by_column: bool) -> Pair:
    """All jobs have run."""
    a, b = source("a"), source("b")
    a["outputs"][0]["columns"], b["outputs"][0]["columns"] = ["x"], ["y"]
    world = await World.made(
        database,
        a,
        b,
        job("j", "a", "b", columns={"x": ["a.x"], "y": ["b.y"]}),
        job("rx", "j", columns={"x": ["j.x"]}),
        job("ry", "j", columns={"y": ["j.y"]}),
        job("both", "j", "rx", columns={"x": ["j.x", "rx.x"]}),
    )
    pair = Pair(world, by_column)
    await world.changed("a", DAY)
    await world.changed("b", DAY)
    await pair.run()
    return pair


@pytest.mark.parametrize("by_column", [True, False])
@pytest.mark.parametrize("is_rejected_first", [True, False])
async def test_changes_read_by_a_run_reach_its_readers_after_a_rejection(
    database: Database, is_rejected_first: bool, by_column: bool
) -> None:
    pair = await _pair(database, by_column=by_column)
    world = pair.world
    plan = await pair.pending("a", "x", 5)
    if is_rejected_first:
        await pair.reject(plan)
    pair.sources["b"] = 2
    await world.changed("b", DAY, columns=("y",))
    await pair.run()
    if not is_rejected_first:
        await pair.reject(plan)
        await pair.run()
    assert pair.tables["j"] == {"x": 5, "y": 2}
    assert pair.tables["rx"] == {"x": 5}
    assert pair.tables["ry"] == {"y": 2}


@pytest.mark.parametrize("by_column", [True, False])
@pytest.mark.parametrize(("dataset", "column"), [("a", "x"), ("b", "y")])
async def test_changes_read_by_a_run_reach_its_readers_after_two_rejections(
    database: Database, dataset: str, column: str, by_column: bool
) -> None:
    """Since the run, an input has changed again, so the partition is left stale by decision."""
    pair = await _pair(database, by_column=by_column)
    first = await pair.pending("a", "x", 5)
    pair.sources["b"] = 2
    await pair.world.changed("b", DAY, columns=("y",))
    await pair.run()
    second = await pair.pending(dataset, column, 7)
    await pair.reject(first)
    await pair.reject(second)
    await pair.run()
    assert pair.tables["j"] == {"x": 5, "y": 2}
    assert pair.tables["rx"] == {"x": 5}
    assert await pair.stale() == [("j", "left")]


async def _read_early(database: Database, *, by_column: bool = False) -> Pair:
    """A run of `j` for a change of b has read a change of a as well, without an event so far."""
    pair = await _pair(database, by_column=by_column)
    pair.sources |= {"a": 5, "b": 2}
    await pair.world.changed("b", DAY, columns=("y",))
    await pair.run()
    return pair


@pytest.mark.parametrize("by_column", [True, False])
async def test_changes_read_by_a_run_reach_its_readers_after_a_cancellation(
    database: Database, by_column: bool
) -> None:
    pair = await _read_early(database, by_column=by_column)
    world = pair.world
    await world.changed("a", DAY, columns=("x",))
    task = await world.task(f"j[{DAY}]", "queued")
    async with world.conn() as conn:
        await cancel(conn, world.org, task["id"])
    await pair.run()
    assert pair.tables["j"] == {"x": 5, "y": 2}
    assert pair.tables["rx"] == {"x": 5}


async def test_changes_read_by_a_run_reach_its_readers_after_a_failure(database: Database) -> None:
    """The failed attempt may have written, but has not."""
    pair = await _read_early(database)
    world = pair.world
    await world.changed("a", DAY, columns=("x",))
    (lease,) = await world.claim()
    async with world.conn() as conn:
        await fail(conn, world.org, lease, "it broke")
        await cancel(conn, world.org, lease.task_id)
    await pair.run()
    assert pair.tables["j"] == {"x": 5, "y": 2}
    assert pair.tables["rx"] == {"x": 5}


async def test_changes_read_by_a_run_reach_its_readers_after_a_rewrite(database: Database) -> None:
    pair = await _read_early(database)
    await pair.world.changed("j", DAY, columns=("y",), reason="rewritten")
    await pair.run()
    await pair.reject(await pair.pending("a", "x", 5))
    await pair.run()
    assert pair.tables["j"] == {"x": 5, "y": 2}
    assert pair.tables["rx"] == {"x": 5}


async def test_a_rejected_change_found_by_a_run_is_left_in_readers_over_other_jobs_as_well(
    database: Database,
) -> None:
    pair = await _pair(database, by_column=True)
    world = pair.world
    pair.sources = {"a": 5, "b": 2}
    await world.changed("b", DAY, columns=("y",))
    (lease,) = await world.claim()
    await pair.finish(lease)
    await pair.limit(0)
    found = await world.plan()
    assert found
    assert found.plan_id
    assert found.exceeded_limits
    await pair.reject(found.plan_id)
    await pair.run()
    assert sorted(await pair.stale()) == [("both", "left"), ("rx", "left")]
