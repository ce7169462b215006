"""Discard dead letters that need no replay; they are kept with actor and reason.

The table has the times of discards in `closed_at`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from engine.errors import InvalidInput
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.rows.dead_letters import DeadLetterId
from engine.store.run import fetch

_DISCARDED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Filter of open dead letters: by stream, like ``kafka/orders``, and by part of the error.

    ``streams`` are the streams to which the filter is confined; None: all.
    """

    stream: str | None = None
    error: str | None = None
    streams: Sequence[str] | None = None


async def discard_letters(
    conn: Connection, org: OrgContext, ids: Sequence[UUID], *, reason: str, by: str | None
) -> list[UUID]:
    """Discard open dead letters, all or none; return their ids.

    Raises InvalidInput if the reason is empty or any of the letters is not open.
    """
    _require(reason)
    wanted = set(ids)
    async with conn.transaction():
        rows = await fetch(
            conn,
            "dead_letters.close",
            DeadLetterId,
            org_id=org.id,
            ids=[*wanted],
            reason=reason,
            by=by,
        )
        if remaining := wanted - {row.id for row in rows}:
            named = ", ".join(sorted(map(str, remaining)))
            raise InvalidInput(f"replayed or discarded already: {named}; nothing was discarded")
    return [row.id for row in rows]


async def discard_matching(
    conn: Connection, org: OrgContext, matching: LetterFilter, *, reason: str, by: str | None
) -> int:
    """Discard all open dead letters that match a filter, in batches; return their number.

    Raises InvalidInput if the reason is empty.
    """
    _require(reason)
    count = 0
    while rows := await fetch(
        conn,
        "dead_letters.close_matching",
        DeadLetterId,
        org_id=org.id,
        stream=matching.stream,
        error=matching.error,
        streams=None if matching.streams is None else list(matching.streams),
        reason=reason,
        by=by,
        limit=_DISCARDED_AT_ONCE,
    ):
        count += len(rows)
    return count


def _require(reason: str) -> None:
    if not reason.strip():
        raise InvalidInput("the reason is empty: state why the letters need no replay")
