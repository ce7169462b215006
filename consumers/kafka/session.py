"""One membership in the group: seek positions, then read, write and commit in a loop."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from consumers.kafka.backoff import Backoff
from consumers.kafka.batches import (
    Fetched,
    Records,
    batch_of,
    prepare,
    stream_of,
    topic_of,
    undecodable,
)
from consumers.kafka.commits import Commits
from consumers.kafka.compaction import compacted
from consumers.kafka.dead_letters import DeadLetterTopic
from consumers.kafka.lag import report_lag
from consumers.kafka.membership import Membership
from consumers.kafka.settings import Ingest, KafkaSettings, Positions
from consumers.kafka.start_offset import Log, StartOffset, start_offset
from consumers.kafka.topic_ids import topic_ids
from engine.errors import PositionLost
from engine.model.event import Batch
from engine.monitor.pulse import Pulse
from engine.stopping import unless_stopped

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_POLL_MS = 500
_SEND_SECONDS = 0.001
_NOTHING: Records = MappingProxyType({})
_POSITION_ERRORS = (PositionLost, OffsetOutOfRangeError, NoOffsetForPartitionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A started client, with its settings and its group membership."""

    client: AIOKafkaConsumer
    settings: KafkaSettings
    ingest: Ingest
    load_positions: Positions
    dead_letters: DeadLetterTopic
    stop: asyncio.Event
    backoff: Backoff
    pulse: Pulse
    commits: Commits
    membership: Membership = field(default_factory=Membership)

    async def run(self) -> None:
        """Consume until the stop. Raises KafkaError if the client is no longer usable."""
        await unless_stopped(self.stop, self._subscribe())
        while not self.stop.is_set():
            try:
                self.pulse.beat()
                await unless_stopped(self.stop, self._seek())
                await self._ingest_next()
                await self.commits.commit_if_due()
                if self.membership.has_joined:
                    self.pulse.waits_for = None
                report_lag(self.settings.name, self.client, self.membership.positions)
            except _POSITION_ERRORS as why:
                _log.info("loading positions again", consumer=self.settings.name, why=str(why))
                self.membership.reset_positions()
            except UnicodeDecodeError:
                # The client drops fetched records of other partitions, but counts them as consumed.
                self.membership.reset_positions()
                await unless_stopped(self.stop, self._seek())
                await self._ingest_singly()
        await self.commits.commit()

    async def _subscribe(self) -> None:
        missing = self.settings.readers.keys() - await self.client.topics()
        if missing:
            _log.warning(
                "topics do not exist yet", consumer=self.settings.name, topics=sorted(missing)
            )
        if topics := await compacted(self.settings.connection, self.settings.readers):
            _log.warning(
                "topics are compacted: messages that the broker removes before they are read are "
                "missed",
                consumer=self.settings.name,
                topics=sorted(topics),
            )
        self.client.subscribe(list(self.settings.readers), listener=self.membership)

    async def _seek(self) -> None:
        """Seek newly assigned partitions to their stored positions."""
        positions, unpositioned = self.membership.positions, self.membership.unpositioned
        if not unpositioned:
            return
        offsets = await self._start_offsets(unpositioned)
        await self._store(offsets.values())
        if positions is not self.membership.positions:
            return  # a rebalance has started meanwhile
        for partition, start in offsets.items():
            if partition not in unpositioned:
                continue
            self.client.seek(partition, start.position.offset)
            positions[partition] = start.position
            # The former owner may have stopped before it committed the offset.
            self.commits.record({partition: start.position.offset})

    async def _start_offsets(
        self, partitions: frozenset[TopicPartition]
    ) -> dict[TopicPartition, StartOffset]:
        """The start offsets of partitions.

        Topic ids are requested before offsets: if a topic is recreated in between, its new id is
        noticed with the first fetch.
        """
        stored = await self._with_retries(self.load_positions)
        unread = {partition.topic for partition in partitions} - {*map(topic_of, stored)}
        partitions |= self._partitions_from_end(unread)
        ids = await topic_ids(self.client, partitions)
        starts = await self.client.beginning_offsets(partitions)
        ends = await self.client.end_offsets(partitions)
        logs = {
            partition: Log(
                stream_of(partition), starts[partition], ends[partition], ids.get(partition)
            )
            for partition in partitions
        }
        return {
            partition: start_offset(
                log,
                stored.get(log.stream),
                self.settings.start if partition.topic in unread else "earliest",
            )
            for partition, log in logs.items()
        }

    def _partitions_from_end(self, unread: Collection[str]) -> frozenset[TopicPartition]:
        """All partitions of unread topics, if the settings start at the end of the log.

        The positions of all of them are stored at once, assigned or not. So a partition without a
        stored position was added later, and is read from its beginning: otherwise messages that
        precede its detection would be skipped.
        """
        if self.settings.start == "earliest":
            return frozenset()
        return frozenset(
            TopicPartition(topic, number)
            for topic in unread
            for number in self.client.partitions_for_topic(topic) or ()
        )

    async def _store(self, offsets: Collection[StartOffset]) -> None:
        """Persist positions that changed, and record messages that a broker should have kept."""
        advances = tuple(offset.advance for offset in offsets if offset.advance)
        reports = self.settings.reports_losses
        losses = tuple(offset.loss for offset in offsets if offset.loss and reports)
        for loss in losses:
            _log.error("messages lost", stream=loss.stream, position=loss.position, why=loss.error)
        if advances:
            await self._write(
                Batch(consumer=self.settings.name, advances=advances, rejections=losses)
            )

    async def _ingest_next(self, *partitions: TopicPartition, limit: int | None = None) -> None:
        """Fetch messages of some or all partitions, and write them as one batch."""
        fetching = self._fetch(partitions, limit or self.settings.batch_size)
        fetched = await unless_stopped(self.stop, fetching)
        if fetched is None or not fetched.reached:
            return
        await self._write(await self._read(fetched), fetched.records)
        for partition, offset in fetched.reached.items():
            fetched.positions[partition] = fetched.positions[partition].at(offset)
        self.commits.record(fetched.reached)

    async def _read(self, fetched: Fetched) -> Batch:
        """Read fetched messages, while the broker reports the ids of their topics.

        Raises PositionLost if a topic's id is not that of the position. Ids requested after a fetch
        cover all of its records, because the id of a recreated topic never becomes the old one.
        """
        name, readers = self.settings.name, self.settings.readers
        requesting = asyncio.ensure_future(topic_ids(self.client, fetched.reached))
        try:
            await self._with_retries(lambda: prepare(fetched.records, readers))
            # The request must be sent first, because reading blocks the event loop.
            await asyncio.wait({requesting}, timeout=_SEND_SECONDS)
            batch = batch_of(name, fetched, readers)
            ids = await requesting
            if missing := fetched.reached.keys() - ids.keys():
                # Reading may have taken longer than the timeout of the request.
                ids |= await topic_ids(self.client, missing)
        finally:
            requesting.cancel()
        for partition, topic_id in ids.items():
            if topic_id != fetched.positions[partition].topic_id:
                raise PositionLost(f"the topic of {stream_of(partition)} now has id {topic_id}")
        return batch

    async def _fetch(self, partitions: Collection[TopicPartition], limit: int) -> Fetched:
        """Fetch messages of partitions that have a position.

        The offsets reached may exceed those of the messages, because transaction markers occupy
        offsets, too.
        """
        try:
            records = await self.client.getmany(*partitions, timeout_ms=_POLL_MS, max_records=limit)
        except Exception:
            # aiokafka (0.14) counts a fetch that raised as still running, which would disable
            # max_poll_interval_ms.
            self.client._subscription._fetch_count = 0
            raise
        positions = self.membership.positions
        reached = {partition: await self.client.position(partition) for partition in positions}
        return Fetched(
            {partition: records[partition] for partition in records if partition in positions},
            positions,
            {
                partition: offset
                for partition, offset in reached.items()
                if offset > positions[partition].offset
            },
        )

    async def _ingest_singly(self) -> None:
        """Ingest one message per partition, and skip one that the client cannot decode."""
        for partition in self.membership.owned:
            try:
                await self._ingest_next(partition, limit=1)
            except UnicodeDecodeError as error:
                await self._skip(partition, error)
                return

    async def _skip(self, partition: TopicPartition, error: UnicodeDecodeError) -> None:
        position = self.membership.positions.get(partition)
        if position is not None:
            _log.error("message skipped", stream=stream_of(partition), position=position.offset)
            await self._write(undecodable(self.settings.name, partition, position, error))
        self.membership.reset_positions()

    async def _write(self, batch: Batch, records: Records = _NOTHING) -> None:
        rejected = partial(self.dead_letters.send, records)
        await self._with_retries(lambda: self.ingest(batch, rejected))

    async def _with_retries(self, work: Callable[[], Awaitable[T]]) -> T:
        """Retry until the database is available; meanwhile nothing is fetched."""
        while True:
            self.pulse.beat()
            try:
                result = await work()
            except PositionLost:
                raise
            except Exception as error:
                if self.stop.is_set():
                    raise
                _log.error("not written, retrying", consumer=self.settings.name, why=repr(error))
                await self.backoff.wait()
            else:
                self.backoff.reset()
                return result
