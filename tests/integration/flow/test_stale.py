"""Staleness, by the evidence in the tables."""

from typing import Any, TypeVar

import msgspec
import pytest

from engine.flow.shared.stale import stale_partitions
from engine.model.task import Output
from engine.store.database import Connection, Database
from engine.store.rows.stale import UnrecordedInput
from engine.store.run import fetch
from tests.support.worlds import World, job, source

Row = TypeVar("Row", bound=msgspec.Struct)

DAYS = {"dt": {"time": "day", "start": "2013-02-13", "end": "2013-02-16"}}


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
async def test_only_the_last_partition_of_an_input_read_by_last_can_appear(
    database: Database, strategy: str
) -> None:
    reads: dict[str, Any] = {"dataset": "a", "mapping": "last"}
    reader = job("b", partitioning={}, execution_strategy=strategy) | {"inputs": [reads]}
    world = await World.made(database, source("a", DAYS), reader)
    await world.changed("a", "2013-02-13", "2013-02-14")
    await world.run()
    async with world.conn() as conn:
        lineage = await world.org.lineage(conn)
        producer = lineage.producer(lineage.dataset_named("b").id)
        assert await stale_partitions(conn, lineage, [(producer, ["*"])]) == {}


async def test_a_fresh_reader_does_not_block_its_own_readers(
    database: Database,
) -> None:
    """A run publishes its change after its readers have run already."""
    table = source("a", {})
    table["outputs"][0]["columns"] = ["x", "y"]
    columns = {"x": ["a.x"], "y": ["a.y"]}
    jobs = [job("b", "a", partitioning={}, columns=columns)]
    jobs += [job("c", "b", partitioning={}), job("d", "c", partitioning={})]
    world = await World.made(database, table, *jobs)
    await world.changed("a")
    await world.run()
    await world.change("a", columns=("y",))
    await world.change("b", reason="rewritten")
    await world.plan()
    for _ in range(2):
        (lease,) = await world.claim(1)
        await world.finish(lease, "the same")
    while await world.plan():
        pass
    await world.run()
    assert await world.rows("SELECT id FROM knockon.tasks WHERE status = 'blocked'") == []


async def test_a_single_run_has_not_built_partitions_outside_of_its_task(
    database: Database,
) -> None:
    """A run claimed before the plan of a visible change builds only its own partitions."""
    keys: dict[str, Any] = {"partitioning": {"k": {"dynamic": True}}, "execution_strategy": "Full"}
    world = await World.made(
        database, source("a", {}), job("b", "a", **keys), job("c", "b", **keys)
    )
    await world.changed("a")
    (lease,) = await world.claim(1)
    await world.complete(lease, Output("b", "K"))
    await world.plan()
    await world.run()
    await world.changed("a")
    (lease,) = await world.claim()
    await world.complete(lease, Output("b", "K"), Output("b", "L"))
    (lease,) = await world.claim()
    assert (lease.job.name, lease.partitions) == ("c", ("K",))
    await world.plan()
    await world.finish(lease)
    (lease,) = await world.claim()
    assert (lease.job.name, lease.partitions) == ("c", ("K", "L"))


async def test_only_required_input_partitions_are_looked_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of a window depends on the partitions read, not on the size of the input."""
    looked_up: list[str] = []

    async def counted(conn: Connection, name: str, row: type[Row], **params: Any) -> list[Row]:
        rows = await fetch(conn, name, row, **params)
        looked_up.extend(row.key for row in rows if isinstance(row, UnrecordedInput))
        return rows

    monkeypatch.setattr("engine.flow.shared.stale.fetch", counted)
    window = {"dataset": "a", "mapping": {"dt": {"from": "dt", "window": [-1, 0]}}}
    world = await World.made(database, source("a"), job("b", window))
    days = [f"2013-02-{day:02}" for day in range(1, 20)]
    await world.changed("a", *days)
    await world.run()
    async with world.conn() as conn:
        lineage = await world.org.lineage(conn)
        producer = lineage.producer(lineage.dataset_named("b").id)
        assert await stale_partitions(conn, lineage, [(producer, days)]) == {}
        assert looked_up == []
        await conn.execute(
            "DELETE FROM knockon.task_inputs WHERE input_partition_key = %s", days[:1]
        )
        stale = await stale_partitions(conn, lineage, [(producer, days)])
    assert sorted(key for _, key in stale) == days[:2]
    assert looked_up == days[:1] * 2
