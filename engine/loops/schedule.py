"""Schedule: sources with a cron expression count as changed at its times, each time once."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from engine.errors import PositionLost
from engine.flow.ingest import ingest
from engine.flow.scene import Scene
from engine.model.cron import previous_time
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent
from engine.store.database import Connection
from engine.store.run import fetch

_CONSUMER = "schedule"


@dataclass(frozen=True, slots=True)
class _Due:
    dataset: str
    before: str | None
    at: datetime


async def fire_due(conn: Connection, scene: Scene) -> int:
    """Invalidate each scheduled source whose time has come since it last fired; returns how many.

    The time is the database's. Times missed while nobody looked come to one event, and a source
    that is seen for the first time fires at its next time.
    """
    fired = 0
    for due in await _due(conn, scene.org_id):
        try:
            await ingest(conn, scene, _batch(due))
            fired += 1
        except PositionLost:
            continue  # another engine fired it first
    return fired


async def _due(conn: Connection, org_id: UUID) -> list[_Due]:
    rows = await fetch(conn, "schedule.sources", org_id=org_id)
    found = [_last_time(row) for row in rows]
    return [each for each in found if each is not None]


def _last_time(row: dict[str, Any]) -> _Due | None:
    """The latest time of the cron expression, if it is later than the one that fired last."""
    now = row["now"].astimezone(ZoneInfo(row["source"].get("zone", "UTC")))
    last = previous_time(row["source"]["cron"], now)
    since = row["position"] or row["since"].isoformat()
    if last is None or last <= datetime.fromisoformat(since):
        return None
    return _Due(row["dataset"], row["position"], last)


def _batch(due: _Due) -> Batch:
    stream, position = f"schedule/{due.dataset}", due.at.isoformat()
    event = SourceEvent(dataset=due.dataset, reason="schedule", time=position, source=stream)
    return Batch(
        consumer=_CONSUMER,
        received=(Received.one(event, Delivery(stream, position)),),
        advances=(Advance(stream=stream, before=due.before, after=position),),
    )
