"""Positions of consumers in their streams, and how far they are behind."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

import msgspec

from engine.flow.shared.org_context import OrgContext
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.service.streams import CHANGE_LOG, is_among, read_streams, visible_streams
from engine.service.visibility import EVERYTHING, Visibility
from engine.store.database import Connection
from engine.store.rows.sources import PositionRow
from engine.store.run import fetch
from engine.wording import counted, span

_LONG: Final = timedelta(minutes=1)
"""Six times the pause between reports."""


class Position(msgspec.Struct, frozen=True):
    """Position of a consumer in a stream.

    ``lag`` is the number of messages or changes behind it, and ``lag_seconds`` the age of the
    oldest, as of ``reported_at``; null if they are unknown. ``is_read``: a deployed source reads
    the stream. ``problem`` is the reason why a stream that is read does not move.
    """

    consumer: str
    stream: str
    position: str
    updated_at: datetime
    lag: int | None
    lag_seconds: float | None
    reported_at: datetime | None
    is_read: bool
    problem: str | None


@requires(Role.READER)
async def positions(caller: Caller, service: Service) -> list[Position]:
    """List the positions of all consumers, by consumer and stream."""
    async with service.snapshot(caller) as (conn, org):
        return await load_positions(conn, org, await service.visibility(caller, conn, org))


async def load_positions(
    conn: Connection, org: OrgContext, visible: Visibility = EVERYTHING
) -> list[Position]:
    """Load the positions of the visible streams of an org."""
    streams = await visible_streams(conn, org, visible)
    read = await read_streams(conn, org)
    rows = await fetch(conn, "views.positions", PositionRow, org_id=org.id)
    former = _former_logs(rows)
    return [
        _position(row, is_read=is_among(row.stream, read) and row not in former)
        for row in rows
        if is_among(row.stream, streams)
    ]


def _former_logs(rows: Sequence[PositionRow]) -> list[PositionRow]:
    """Return the positions in change logs that another one has followed, as after a failover."""
    logs = [row for row in rows if is_among(row.stream, [CHANGE_LOG])]
    newest = {row.consumer: row for row in sorted(logs, key=attrgetter("updated_at"))}
    return [row for row in logs if row is not newest[row.consumer]]


def _position(row: PositionRow, *, is_read: bool) -> Position:
    return Position(
        consumer=row.consumer,
        stream=row.stream,
        position=row.position,
        updated_at=row.updated_at,
        lag=row.lag,
        lag_seconds=row.lag_seconds,
        reported_at=row.lag_at,
        is_read=is_read,
        problem=_problem(row) if is_read else None,
    )


def _problem(row: PositionRow) -> str | None:
    if row.lag_at is None or row.now - row.lag_at > _LONG:
        since = row.updated_at if row.lag_at is None else row.lag_at
        if row.now - since <= _LONG:
            return None
        silent = span((row.now - since).total_seconds())
        return f"no consumer has reported for {silent}: start 'knockon consume', or see its log"
    if row.lag and row.now - row.updated_at > _LONG:
        still = span((row.now - row.updated_at).total_seconds())
        return (
            f"not moved for {still}, {counted(row.lag, 'message')} behind: see the consumer's log"
        )
    return None
