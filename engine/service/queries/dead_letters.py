"""Dead letters: messages rejected by ingestion, stored for inspection and replay."""

from datetime import datetime
from uuid import UUID

import msgspec

from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.ids import dead_letter_id
from engine.service.keyset import NEWEST
from engine.service.service import Service
from engine.service.streams import visible_streams
from engine.store.rows.dead_letters import DeadLetterRow
from engine.store.run import fetch


class DeadLetter(msgspec.Struct, frozen=True):
    """A rejected message; bytes of ``payload`` other than UTF-8 are escaped.

    ``is_loss`` marks a record of skipped messages, unavailable for a replay.
    """

    id: UUID
    consumer: str
    stream: str
    position: str
    payload: str | None
    headers: dict[str, str]
    error: str
    created_at: datetime
    replayed_at: datetime | None
    is_loss: bool
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None


@requires(Role.READER)
async def dead_letters(
    caller: Caller,
    service: Service,
    *,
    with_done: bool = False,
    limit: int = 50,
    before: UUID = NEWEST,
) -> list[DeadLetter]:
    """List dead letters before an id, newest first.

    ``with_done`` includes replayed and discarded ones.
    """
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        rows = await fetch(
            conn,
            "dead_letters.list",
            DeadLetterRow,
            org_id=org.id,
            all=with_done,
            limit=limit,
            before=before,
            streams=await visible_streams(conn, org, visible),
        )
    return [_letter(row) for row in rows]


@requires(Role.READER)
async def dead_letter(caller: Caller, service: Service, letter: str) -> DeadLetter:
    """Return a dead letter, by the id or its ending. Raises InvalidInput, UnknownName."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        id_ = await dead_letter_id(conn, org, letter, visible)
        (row,) = await fetch(conn, "views.dead_letter", DeadLetterRow, org_id=org.id, id=id_)
    return _letter(row)


def _letter(row: DeadLetterRow) -> DeadLetter:
    text = None if row.payload is None else row.payload.decode(errors="backslashreplace")
    return DeadLetter(**{**msgspec.structs.asdict(row), "payload": text})
