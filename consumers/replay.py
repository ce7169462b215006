"""Replay of dead letters, after the cause of the rejection has been fixed."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from msgspec import structs

from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from consumers.http.message import endpoint_of
from consumers.kafka.batches import feed_of, topic_of
from consumers.sources import load_sources
from engine.errors import ServiceUnavailable
from engine.flow.deployment.auto_register import auto_register
from engine.flow.ingestion.ingest import ingest
from engine.flow.shared.org_context import OrgContext
from engine.model.discovery import DiscoveredDataset
from engine.model.event import Batch, Delivery, Received, Rejection, rejection
from engine.store.database import Connection
from engine.store.orgs import lineage_epoch
from engine.store.rows.dead_letters import LockedLetter
from engine.store.run import execute, fetch

_ATTEMPTS = 5
_LOST = (
    "the lost messages cannot be read again: invalidate the datasets of the topic, then "
    "discard the dead letter with 'knockon dead-letters discard'"
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcome of replaying a dead letter; ``error`` is None if its events were ingested."""

    id: UUID
    error: str | None
    invalidations: tuple[UUID, ...] = ()


Transaction = Callable[[], AbstractAsyncContextManager[tuple[Connection, OrgContext]]]
"""Begins a transaction."""


async def replay(conn: Connection, org: OrgContext, ids: Sequence[UUID]) -> list[Replayed]:
    """Ingest dead letters again; see `replay_in`, in transactions on one connection."""

    @asynccontextmanager
    async def transaction() -> AsyncIterator[tuple[Connection, OrgContext]]:
        async with conn.transaction():
            yield conn, org

    return await replay_in(transaction, ids)


async def replay_in(transaction: Transaction, ids: Sequence[UUID]) -> list[Replayed]:
    """Ingest dead letters again in one transaction; skips those that are already replayed.

    Messages are read with the current configuration of their topic or endpoint. A dead letter that
    fails again keeps the newest error, except that a loss keeps the error that lists the lost
    messages. The schemas of the messages are requested before the transaction. Raises
    ServiceUnavailable if deploys keep changing the configuration.
    """
    for _ in range(_ATTEMPTS):
        readers, epoch = await _prepared_readers(transaction, ids)
        async with transaction() as (conn, org):
            rows = await fetch(
                conn, "dead_letters.lock", LockedLetter, org_id=org.id, ids=list(ids)
            )
            if await lineage_epoch(conn, org.id) != epoch:
                continue
            return [
                Replayed(row.id, _LOST)
                if row.is_loss
                else await _replay(conn, org, row, _read(readers, row))
                for row in rows
            ]
    raise ServiceUnavailable("deploys keep changing the sources: replay the dead letters again")


async def _prepared_readers(
    transaction: Transaction, ids: Sequence[UUID]
) -> tuple[Mapping[str, Reader], int]:
    """Return the readers with everything needed to read dead letters, and the epoch of the lineage.

    What readers request over the network holds up no transaction.
    """

    async def register(discovered: Sequence[DiscoveredDataset]) -> list[DiscoveredDataset]:
        async with transaction() as (conn, org):
            return await auto_register(conn, org, discovered)

    async with transaction() as (conn, org):
        epoch = await lineage_epoch(conn, org.id)
        readers = (await load_sources(conn, org)).readers_by_feed(register)
        rows = await fetch(conn, "dead_letters.open", LockedLetter, org_id=org.id, ids=list(ids))
    values: defaultdict[str, list[bytes | None]] = defaultdict(list)
    for row in rows:
        if not row.is_loss:
            values[_feed_of(row.stream)].append(row.payload)
    for feed in values.keys() & readers.keys():
        await readers[feed].prepare(values[feed])
    return readers, epoch


def _feed_of(stream: str) -> str:
    topic = topic_of(stream)
    return feed_of(topic) if topic else stream


def _read(readers: Mapping[str, Reader], row: LockedLetter) -> list[Received] | Rejection:
    letter = Delivery(row.stream, row.position, row.payload, row.headers)
    if topic := topic_of(letter.stream):
        name = f"topic {topic!r}"
    elif endpoint := endpoint_of(letter.stream):
        name = f"endpoint {endpoint!r}"
    else:
        return Reader(read_events).read_again(letter)
    reader = readers.get(_feed_of(letter.stream))
    if reader is None:
        return rejection(letter, f"no deployed DAG reads {name}: deploy one that does")
    return reader.read_again(letter)


async def _replay(
    conn: Connection, org: OrgContext, row: LockedLetter, outcome: list[Received] | Rejection
) -> Replayed:
    if isinstance(outcome, Rejection):
        await execute(conn, "views.dead_letter_error", id=row.id, error=outcome.error)
        return Replayed(row.id, outcome.error)
    # Later events may have described the partitions since.
    received = tuple(_without_fingerprint(each) for each in outcome)
    written = await ingest(conn, org, Batch(consumer=row.consumer, received=received))
    # Other events of the same message that are rejected now become dead letters of their own.
    for rejected in written.rejections:
        if rejected.position == row.position:
            return Replayed(row.id, rejected.error)
    await execute(conn, "dead_letters.replayed", ids=[row.id])
    return Replayed(row.id, None, written.invalidations)


def _without_fingerprint(received: Received) -> Received:
    event = structs.replace(received.event, fingerprint=None)
    return structs.replace(received, event=event)
