"""Replay or discard dead letters."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from consumers.replay import Replayed, replay_in
from engine.errors import UnknownName
from engine.flow.ingestion.discard_letters import (
    LetterFilter,
    discard_letters,
    discard_matching,
)
from engine.flow.shared.org_context import OrgContext
from engine.model.source_positions import did_you_mean
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.ids import dead_letter_id
from engine.service.service import Service
from engine.service.streams import is_among, visible_streams
from engine.store.database import Connection
from engine.store.rows.dead_letters import DeadLetterId, Stream
from engine.store.run import fetch

__all__ = ["Replayed", "discard", "discard_all", "replay", "replay_all"]


@requires(Role.WRITER)
async def replay(caller: Caller, service: Service, ids: Sequence[str]) -> list[Replayed]:
    """Ingest dead letters again with the current format of the topic; return the outcomes.

    Raises InvalidInput, UnknownName.
    """
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        letters = [await dead_letter_id(conn, org, id_, visible) for id_ in ids]
    return await replay_in(partial(service.transaction, caller), letters)


@requires(Role.WRITER)
async def replay_all(caller: Caller, service: Service) -> list[Replayed]:
    """Ingest all open dead letters of the org again, the oldest first."""
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        streams = await visible_streams(conn, org, visible)
        rows = await fetch(
            conn, "views.open_dead_letter_ids", DeadLetterId, org_id=org.id, streams=streams
        )
    return await replay_in(partial(service.transaction, caller), [row.id for row in rows])


@requires(Role.WRITER)
async def discard(
    caller: Caller, service: Service, ids: Sequence[str], *, reason: str
) -> list[UUID]:
    """Discard dead letters without a replay, all or none; return their ids.

    They are kept with the user and the reason, and cannot be replayed. Raises UnknownName, or
    InvalidInput if the reason is empty or a letter is not open.
    """
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        letters = [await dead_letter_id(conn, org, id_, visible) for id_ in ids]
        return await discard_letters(conn, org, letters, reason=reason, by=caller.user)


@requires(Role.WRITER)
async def discard_all(
    caller: Caller,
    service: Service,
    *,
    stream: str | None = None,
    error: str | None = None,
    reason: str,
) -> int:
    """Discard all open dead letters of a stream or with a text in the error; return the count.

    A thousand per transaction. Raises InvalidInput if the reason is empty, and UnknownName if no
    dead letter or consumer is of the stream.
    """
    async with service.connection(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        streams = await visible_streams(conn, org, visible)
        matching = LetterFilter(stream, error, streams)
        count = await discard_matching(conn, org, matching, reason=reason, by=caller.user)
        if stream is not None and not count:
            await _require_stream(conn, org, stream, streams)
        return count


async def _require_stream(
    conn: Connection, org: OrgContext, stream: str, visible: Sequence[str] | None
) -> None:
    rows = await fetch(conn, "dead_letters.streams", Stream, org_id=org.id)
    streams = [row.stream for row in rows if is_among(row.stream, visible)]
    if not any(f"{each}/".startswith(f"{stream}/") for each in streams):
        hint = did_you_mean(stream, streams) or "; see the streams with 'knockon dead-letters'"
        raise UnknownName(f"there is no stream {stream!r} in this org{hint}")
