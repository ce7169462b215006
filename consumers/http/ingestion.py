"""Ingestion of the messages of a request, in one transaction."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

import msgspec

from consumers.http.deliveries import Deliveries, claim, record, rejected_before
from consumers.http.endpoint import Endpoint
from consumers.http.message import HTTP, HttpMessage, stream_of
from engine.errors import PositionLost
from engine.flow.ingestion.ingest import Ingested, ingest
from engine.flow.shared.org_context import OrgContext
from engine.model.event import Batch, Received, Rejection
from engine.store.database import Connection
from engine.store.orgs import lineage_epoch


class SourcesChanged(PositionLost):
    """A deploy has changed the sources since an endpoint was loaded."""


class Rejected(msgspec.Struct, frozen=True):
    """A message of a request that is a dead letter now: its index, and the position of the letter.

    If several events of the message are rejected, each is a dead letter of its own.
    """

    index: int
    position: str
    error: str


class Ingestion(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a request.

    ``events`` counts those of new messages, and ``repeated`` the messages received before, which
    change nothing. ``invalidations`` are those of all messages, at most 100 of repeated ones.
    """

    endpoint: str
    messages: int
    repeated: int
    events: int
    invalidations: tuple[UUID, ...]
    rejected: tuple[Rejected, ...]


class Written(msgspec.Struct, frozen=True):
    """The result of a request, with the batch that was written, for metrics."""

    ingestion: Ingestion
    batch: Batch
    ingested: Ingested


async def ingest_messages(
    conn: Connection, org: OrgContext, endpoint: Endpoint, messages: Sequence[HttpMessage]
) -> Written:
    """Ingest messages that the reader of the endpoint is prepared for.

    Must run in a transaction. Raises SourcesChanged if the endpoint has to be loaded again.
    """

    async def confirm(conn: Connection) -> None:
        if await lineage_epoch(conn, org.id) != endpoint.epoch:
            raise SourcesChanged("a deploy changed the sources; the messages are read again")

    deliveries = await claim(conn, org.id, endpoint.name, messages)
    batch = _batch(endpoint, deliveries)
    ingested = await ingest(conn, org, batch, confirm=confirm)
    effective = _effective(batch, ingested.rejections)
    new = [message for message in deliveries.new if message.position in effective]
    await record(conn, org.id, endpoint.name, new, ingested.invalidations)
    errors = {rejected.position: rejected.error for rejected in ingested.rejections}
    if deliveries.repeated:
        errors |= await rejected_before(conn, org.id, endpoint.name, deliveries.repeated)
    ingestion = Ingestion(
        endpoint=endpoint.name,
        messages=len(messages),
        repeated=len(deliveries.repeated),
        events=sum(received.count for received in batch.received),
        invalidations=(*deliveries.invalidations, *ingested.invalidations),
        rejected=tuple(_rejected(messages, errors)),
    )
    return Written(ingestion, batch, ingested)


def _batch(endpoint: Endpoint, deliveries: Deliveries) -> Batch:
    """Read the new messages."""
    reader = endpoint.reader
    received: list[Received] = []
    rejections = [*deliveries.rejections]
    new = [message.delivery(endpoint.name) for message in deliveries.new]
    for delivery in new:
        outcome = reader.read(delivery)
        if isinstance(outcome, Rejection):
            rejections.append(outcome)
        else:
            received += outcome
    reported = reader.reported_lineage or (lambda _: ())
    return Batch(
        consumer=HTTP,
        received=tuple(received),
        rejections=tuple(rejections),
        reported_lineage=tuple(each for delivery in new for each in reported(delivery.value)),
        runs=tuple(reader.runs(stream_of(endpoint.name), new)),
    )


def _effective(batch: Batch, rejections: Iterable[Rejection]) -> set[str]:
    """The positions of messages with an event that is not rejected."""
    rejected = {rejection.position for rejection in rejections}
    events = {each.position for received in batch.received for each in received.deliveries}
    return {position.partition("#")[0] for position in events - rejected}


def _rejected(messages: Sequence[HttpMessage], errors: Mapping[str, str]) -> Iterator[Rejected]:
    """The rejections of messages, by index; those of other messages, such as earlier runs, not."""
    by_message: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for position, error in errors.items():
        by_message[position.partition("#")[0]][position] = error
    for index, message in enumerate(messages):
        for position, error in by_message.pop(message.position, {}).items():
            yield Rejected(index, position, error)
