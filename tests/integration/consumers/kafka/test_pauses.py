"""A slow database: nothing is lost, with or without a rebalance of the group."""

import asyncio
from collections.abc import Mapping

from consumers.kafka import KafkaConsumer
from engine.flow.ingestion.ingest import Rejected
from engine.model.event import Batch
from tests.support.kafka import Ledger, on_kafka, running, settings

pytestmark = on_kafka


class Slow:
    """A ledger that blocks on the first events until released."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.holding = asyncio.Event()
        self.go_on = asyncio.Event()
        self.asked = 0

    async def ingest(self, batch: Batch, rejected: Rejected) -> None:
        if batch.received:
            self.holding.set()
            await self.go_on.wait()
        await self._ledger.ingest(batch, rejected)

    async def positions(self) -> Mapping[str, str]:
        self.asked += 1
        return await self._ledger.positions()


async def test_a_pause_beyond_the_session_timeout_keeps_the_membership(broker, ledger, topic):
    slow = Slow(ledger)
    group = settings(broker, topic.name)
    async with running(KafkaConsumer(group, slow.ingest, slow.positions)):
        await topic.send("a")
        await slow.holding.wait()
        asked = slow.asked
        await asyncio.sleep(
            2.5 * group.client["session_timeout_ms"] / 1000
        )  # for nothing to happen
        slow.go_on.set()
        await topic.send("b")
        await ledger.until(events=2)

    assert ledger.notes == ["a", "b"]
    assert slow.asked == asked, "positions are read again after a rebalance only"


async def test_a_pause_beyond_the_poll_interval_loses_partitions_and_batch(broker, ledger, topic):
    slow = Slow(ledger)
    group = settings(broker, topic.name)
    impatient = settings(broker, topic.name, client={**group.client, "max_poll_interval_ms": 500})
    first = KafkaConsumer(impatient, slow.ingest, slow.positions)
    async with running(first):
        await topic.send("a")
        await slow.holding.wait()
        async with running(KafkaConsumer(group, ledger.ingest, ledger.positions)):
            await ledger.until(events=1)
            slow.go_on.set()
        await topic.send("b")
        await ledger.until(events=2)

    assert ledger.notes == ["a", "b"]
    assert ledger.overtaken
