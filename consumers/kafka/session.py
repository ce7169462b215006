"""One stay in the group: find the places, then read, write, and tell the broker."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

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
from consumers.kafka.lag import tell_lag
from consumers.kafka.membership import Membership
from consumers.kafka.placement import Log, Place, place
from consumers.kafka.settings import Ingest, KafkaSettings, Positions
from consumers.kafka.topic_ids import topic_ids
from consumers.kafka.waiting import Patience, unless_stopped
from engine.errors import PositionLost
from engine.model.event import Batch
from engine.monitor.pulse import Pulse

T = TypeVar("T")

_log = structlog.get_logger(__name__)
_POLL_MS = 500
_HEAD_START_SECONDS = 0.001
_NOTHING: Records = MappingProxyType({})
_MISPLACED = (PositionLost, OffsetOutOfRangeError, NoOffsetForPartitionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A client that has been started, and whom it works for."""

    client: AIOKafkaConsumer
    settings: KafkaSettings
    ingest: Ingest
    positions: Positions
    dead_letters: DeadLetterTopic
    stop: asyncio.Event
    patience: Patience
    pulse: Pulse
    commits: Commits
    membership: Membership = field(default_factory=Membership)

    async def run(self) -> None:
        """Consume until the stop. Raises KafkaError when the client is of no more use."""
        await unless_stopped(self.stop, self._subscribe())
        while not self.stop.is_set():
            try:
                self.pulse.beat()
                await unless_stopped(self.stop, self._place())
                await self._take()
                await self.commits.tell_if_due()
                self._tell_of_ourselves()
            except _MISPLACED as why:
                _log.info("positions are read anew", consumer=self.settings.name, why=str(why))
                self.membership.forget()
            except UnicodeDecodeError:
                # what the client had ready of other partitions is dropped, but counts as consumed
                self.membership.forget()
                await unless_stopped(self.stop, self._place())
                await self._take_singly()
        await self.commits.tell()

    def _tell_of_ourselves(self) -> None:
        if self.membership.has_joined:
            self.pulse.waits_for = None
        tell_lag(self.client, self.membership.places)

    async def _subscribe(self) -> None:
        missing = self.settings.readers.keys() - await self.client.topics()
        if missing:
            _log.warning(
                "topics not there yet", consumer=self.settings.name, topics=sorted(missing)
            )
        if found := await compacted(self.settings.connection, self.settings.readers):
            _log.warning(
                "topics are compacted: what the broker removes before it is read is missed",
                consumer=self.settings.name,
                topics=sorted(found),
            )
        self.client.subscribe(list(self.settings.readers), listener=self.membership)

    async def _place(self) -> None:
        """Seek every partition that came to us, from where the ledger says we stand."""
        places, unplaced = self.membership.places, self.membership.unplaced
        if not unplaced:
            return
        found = await self._find(unplaced)
        await self._move(found.values())
        if places is not self.membership.places:
            return  # dealt anew meanwhile
        for partition, there in found.items():
            if partition not in unplaced:
                continue
            self.client.seek(partition, there.position.offset)
            places[partition] = there.position
            self.commits.note({partition: there.position.offset})  # who had it may not have

    async def _find(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, Place]:
        """Ids before offsets: what is made anew in between is seen with its first messages."""
        stored = await self._persistently(self.positions)
        unread = {each.topic for each in partitions} - {*map(topic_of, stored)}
        partitions |= self._siblings(unread)
        told = await topic_ids(self.client, partitions)
        starts = await self.client.beginning_offsets(partitions)
        ends = await self.client.end_offsets(partitions)
        logs = {
            each: Log(stream_of(each), starts[each], ends[each], told.get(each))
            for each in partitions
        }
        return {
            each: place(
                log,
                stored.get(log.stream),
                self.settings.start if each.topic in unread else "earliest",
            )
            for each, log in logs.items()
        }

    def _siblings(self, unread: Collection[str]) -> frozenset[TopicPartition]:
        """All partitions of topics that are read for the first time, if that begins at their ends.

        All of their positions are stored at once, so that a partition without one was added later:
        it is read from its beginning, or what came before the group noticed it would be skipped.
        """
        if self.settings.start == "earliest":
            return frozenset()
        return frozenset(
            TopicPartition(topic, each)
            for topic in unread
            for each in self.client.partitions_for_topic(topic) or ()
        )

    async def _move(self, found: Collection[Place]) -> None:
        """Store where we stand where that is not where we stood, and what was lost by it."""
        advances = tuple(each.advance for each in found if each.advance)
        losses = tuple(each.loss for each in found if each.loss)
        for loss in losses:
            _log.error("messages lost", stream=loss.stream, position=loss.position, why=loss.error)
        if advances:
            await self._write(
                Batch(consumer=self.settings.name, advances=advances, rejections=losses)
            )

    async def _take(self, *partitions: TopicPartition, most: int | None = None) -> None:
        """Fetch some messages and write them as one batch."""
        fetching = self._fetch(partitions, most or self.settings.batch_size)
        fetched = await unless_stopped(self.stop, fetching)
        if fetched is None or not fetched.reached:
            return
        await self._write(await self._read(fetched), fetched.records)
        for partition, offset in fetched.reached.items():
            fetched.places[partition] = fetched.places[partition].at(offset)
        self.commits.note(fetched.reached)

    async def _read(self, fetched: Fetched) -> Batch:
        """What the messages say; the broker is asked meanwhile which topics they are of.

        Raises PositionLost where a topic is not the one that the place is in. The one that is there
        after a fetch is the one that all of it came from: a topic that was made anew never turns
        into the old one again.
        """
        name, readers = self.settings.name, self.settings.readers
        asking = asyncio.ensure_future(topic_ids(self.client, fetched.reached))
        try:
            await self._persistently(lambda: prepare(fetched.records, readers))
            # the question has to be gone, for while we read nothing else happens
            await asyncio.wait({asking}, timeout=_HEAD_START_SECONDS)
            batch = batch_of(name, fetched, readers)
            told = await asking
            if left := fetched.reached.keys() - told.keys():
                # reading may have outlasted the patience for an answer
                told |= await topic_ids(self.client, left)
        finally:
            asking.cancel()
        for partition, topic_id in told.items():
            if topic_id != fetched.places[partition].topic_id:
                raise PositionLost(f"{stream_of(partition)} is of a topic of id {topic_id}")
        return batch

    async def _fetch(self, partitions: Collection[TopicPartition], most: int) -> Fetched:
        """Some messages of partitions that have a place, and how far that brings us.

        What a transaction leaves behind in a log has offsets, but is no message.
        """
        try:
            records = await self.client.getmany(*partitions, timeout_ms=_POLL_MS, max_records=most)
        except Exception:
            # aiokafka (0.14) goes on counting a fetch that raised as one under way, and so would
            # never again find us idle for too long, whatever max_poll_interval_ms says
            self.client._subscription._fetch_count = 0
            raise
        places = self.membership.places
        reached = {each: await self.client.position(each) for each in places}
        return Fetched(
            {each: records[each] for each in records if each in places},
            places,
            {each: offset for each, offset in reached.items() if offset > places[each].offset},
        )

    async def _take_singly(self) -> None:
        """Take the next message of each partition, past one that the client cannot decode."""
        for partition in self.membership.owned:
            try:
                await self._take(partition, most=1)
            except UnicodeDecodeError as error:
                await self._pass_over(partition, error)
                return

    async def _pass_over(self, partition: TopicPartition, error: UnicodeDecodeError) -> None:
        place = self.membership.places.get(partition)
        if place is not None:
            _log.error("message passed over", stream=stream_of(partition), position=place.offset)
            await self._write(undecodable(self.settings.name, partition, place, error))
        self.membership.forget()

    async def _write(self, batch: Batch, records: Records = _NOTHING) -> None:
        rejected = partial(self.dead_letters.send, records)
        await self._persistently(lambda: self.ingest(batch, rejected))

    async def _persistently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, again and again while the database is away; meanwhile nothing is fetched."""
        while True:
            self.pulse.beat()
            try:
                done = await work()
            except PositionLost:
                raise
            except Exception as error:
                if self.stop.is_set():
                    raise
                _log.error("not written, retrying", consumer=self.settings.name, why=repr(error))
                await self.patience.wait()
            else:
                self.patience.reset()
                return done
