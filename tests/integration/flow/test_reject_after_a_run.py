"""Rejecting a plan after its job ran for another cause leaves nothing stale by the run."""

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from engine.flow.planning.approve import reject
from engine.model.task import Lease, Output
from engine.store.database import Database
from engine.store.orgs import set_setting
from tests.support.worlds import World, job, source

DAY = "2013-02-13"


@dataclass
class Pair:
    """`j` has column x of source a and y of b; `rx` and `ry` read one each."""

    world: World
    by_column: bool
    sources: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    tables: dict[str, dict[str, int]] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            for lease in await self.world.claim():
                await self._finish(lease)
            if await self.world.plan() is None and not (await self.world.tasks()).get("queued"):
                return

    async def _finish(self, lease: Lease) -> None:
        name, j = lease.job.name, self.tables.get("j", {})
        made = {
            "j": {"x": self.sources["a"], "y": self.sources["b"]},
            "rx": {"x": j.get("x", -1)},
            "ry": {"y": j.get("y", -1)},
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

    async def reject(self, plan: UUID) -> None:
        async with self.world.conn() as conn:
            await reject(conn, self.world.org, plan)


@pytest.mark.parametrize("by_column", [True, False])
@pytest.mark.parametrize("is_rejected_first", [True, False])
async def test_changes_read_by_a_run_reach_its_readers_after_a_rejection(
    database: Database, is_rejected_first: bool, by_column: bool
) -> None:
    a, b = source("a"), source("b")
    a["outputs"][0]["columns"], b["outputs"][0]["columns"] = ["x"], ["y"]
    world = await World.made(
        database,
        a,
        b,
        job("j", "a", "b", columns={"x": ["a.x"], "y": ["b.y"]}),
        job("rx", "j", columns={"x": ["j.x"]}),
        job("ry", "j", columns={"y": ["j.y"]}),
    )
    pair = Pair(world, by_column)
    await world.changed("a", DAY)
    await world.changed("b", DAY)
    await pair.run()
    pair.sources["a"] = 5
    await pair.limit(0)
    await world.changed("a", DAY, columns=("x",))
    await pair.limit(None)
    (plan,) = await world.rows("SELECT id FROM plans WHERE state = 'pending_approval'")
    if is_rejected_first:
        await pair.reject(plan["id"])
    pair.sources["b"] = 2
    await world.changed("b", DAY, columns=("y",))
    await pair.run()
    if not is_rejected_first:
        await pair.reject(plan["id"])
        await pair.run()
    assert pair.tables["j"] == {"x": 5, "y": 2}
    assert pair.tables["rx"] == {"x": 5}
    assert pair.tables["ry"] == {"y": 2}
