"""Replay of dead letters, after the cause of the rejection has been fixed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from msgspec import structs

from consumers.formats.knockon import read_events
from consumers.formats.reading import Reader
from consumers.http.message import endpoint_of
from consumers.kafka.batches import feed_of, topic_of
from consumers.sources import load_sources
from engine.flow.deployment.auto_register import auto_register
from engine.flow.ingestion.ingest import ingest
from engine.flow.shared.org_context import OrgContext
from engine.model.event import Batch, Delivery, Received, Rejection, rejection
from engine.store.database import Connection
from engine.store.rows.dead_letters import LockedLetter
from engine.store.run import execute, fetch

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


async def replay(conn: Connection, org: OrgContext, ids: Sequence[UUID]) -> list[Replayed]:
    """Ingest dead letters again in one transaction; skips those that are already replayed.

    Messages are read with the current configuration of their topic or endpoint. A dead letter that
    fails again keeps the newest error, except that a loss keeps the error that lists the lost
    messages.
    """
    async with conn.transaction():
        sources = await load_sources(conn, org)
        readers = sources.readers_by_feed(partial(auto_register, conn, org))
        rows = await fetch(conn, "dead_letters.lock", LockedLetter, org_id=org.id, ids=list(ids))
        return [
            Replayed(row.id, _LOST)
            if row.is_loss
            else await _replay(conn, org, row, await _read(readers, row))
            for row in rows
        ]


async def _read(readers: Mapping[str, Reader], row: LockedLetter) -> list[Received] | Rejection:
    letter = Delivery(row.stream, row.position, row.payload, row.headers)
    if topic := topic_of(letter.stream):
        feed, name = feed_of(topic), f"topic {topic!r}"
    elif endpoint := endpoint_of(letter.stream):
        feed, name = letter.stream, f"endpoint {endpoint!r}"
    else:
        return Reader(read_events).read_again(letter)
    if feed not in readers:
        return rejection(letter, f"no deployed DAG reads {name}: deploy one that does")
    await readers[feed].prepare([letter.value])
    return readers[feed].read_again(letter)


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
