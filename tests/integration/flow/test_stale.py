"""Stale, by the evidence in the tables."""

from typing import Any

import pytest

from engine.flow.stale import stale_partitions
from engine.store.database import Database
from tests.support.worlds import World, job, source

DAYS = {"dt": {"time": "day", "start": "2013-02-13", "end": "2013-02-16"}}


@pytest.mark.parametrize("strategy", ["PerPartition", "Full"])
async def test_of_an_input_read_by_its_last_partition_the_others_have_not_appeared(
    database: Database, strategy: str
) -> None:
    reads: dict[str, Any] = {"dataset": "a", "mapping": "last"}
    reader = job("b", partitioning={}, execution_strategy=strategy) | {"inputs": [reads]}
    world = await World.made(database, source("a", DAYS), reader)
    await world.changed("a", "2013-02-13", "2013-02-14")
    await world.run()
    async with world.conn() as conn:
        lineage = await world.scene.lineage(conn)
        producer = lineage.producer(lineage.dataset_named("b").id)
        assert await stale_partitions(conn, lineage, [(producer, ["*"])]) == {}
