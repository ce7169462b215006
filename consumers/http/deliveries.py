"""Recognition of repeated deliveries, by the identities of messages.

The identities are kept with the idempotency keys of manual requests, for KNOCKON_MESSAGE_DAYS.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from consumers.http.message import HTTP, HttpMessage, stream_of
from engine.model.event import Rejection, rejection
from engine.store.database import Connection
from engine.store.rows.messages import ClaimedMessage, ReceivedMessage, RejectedMessage
from engine.store.run import execute, fetch

_MOST_RECORDED = 100
_REUSED = (
    "an earlier message with other content has the same id: give each message an id of its own. "
    "If this message is another change, replay it"
)


@dataclass(slots=True)
class Deliveries:
    """The messages of a request: those to read, and those received before.

    ``rejections`` are of messages that have the id of another message. ``invalidations`` are those
    of the first deliveries of the repeated messages.
    """

    new: list[HttpMessage] = field(default_factory=list)
    repeated: list[HttpMessage] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    invalidations: list[UUID] = field(default_factory=list)


async def claim(
    conn: Connection, org_id: UUID, endpoint: str, messages: Sequence[HttpMessage]
) -> Deliveries:
    """Divide messages into new and repeated ones, and record the new ones as received.

    Waits for concurrent transactions with the same messages. Must run in the transaction that
    ingests the messages.
    """
    contents: dict[str, str | None] = {}
    for message in messages:
        if message.identity is not None:
            contents.setdefault(_key(endpoint, message), message.identity.content)
    new = await _claimed(conn, org_id, contents)
    received = await _received(conn, org_id, [key for key in contents if key not in new])
    contents |= {row.key: row.request_hash for row in received}
    deliveries = Deliveries(
        invalidations=list(dict.fromkeys(id_ for row in received for id_ in row.invalidation_ids))
    )
    for message in messages:
        key = _key(endpoint, message)
        if message.identity is None:
            deliveries.new.append(message)
        elif message.identity.content != contents[key]:
            deliveries.rejections.append(rejection(message.delivery(endpoint), _REUSED))
        elif key in new:
            new.remove(key)
            deliveries.new.append(message)
        else:
            deliveries.repeated.append(message)
    return deliveries


async def record(
    conn: Connection,
    org_id: UUID,
    endpoint: str,
    messages: Iterable[HttpMessage],
    invalidations: Sequence[UUID],
) -> None:
    """Record the invalidations of messages that had an effect, for the responses to repetitions."""
    keys = [_key(endpoint, message) for message in messages if message.identity is not None]
    if keys and invalidations:
        recorded = list(invalidations[:_MOST_RECORDED])
        await execute(conn, "messages.record", org_id=org_id, keys=keys, invalidations=recorded)


async def rejected_before(
    conn: Connection, org_id: UUID, endpoint: str, messages: Iterable[HttpMessage]
) -> dict[str, str]:
    """The errors of those messages that are open dead letters, by position."""
    positions = [message.position for message in messages]
    rows = await fetch(
        conn,
        "messages.rejected",
        RejectedMessage,
        org_id=org_id,
        consumer=HTTP,
        stream=stream_of(endpoint),
        positions=positions,
    )
    return {row.position: row.error for row in rows}


async def _claimed(conn: Connection, org_id: UUID, contents: Mapping[str, str | None]) -> set[str]:
    if not contents:
        return set()
    keys, digests = [*contents], [*contents.values()]
    rows = await fetch(
        conn, "messages.claim", ClaimedMessage, org_id=org_id, keys=keys, contents=digests
    )
    return {row.key for row in rows}


async def _received(
    conn: Connection, org_id: UUID, keys: Sequence[str]
) -> Sequence[ReceivedMessage]:
    if not keys:
        return []
    return await fetch(conn, "messages.received", ReceivedMessage, org_id=org_id, keys=keys)


def _key(endpoint: str, message: HttpMessage) -> str:
    return f"{stream_of(endpoint)}/{message.position}"
