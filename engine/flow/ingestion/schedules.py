"""Scheduled sources: each time of a source's cron expression counts as one change."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from engine.errors import PositionLost
from engine.flow.ingestion.ingest import ingest
from engine.flow.shared.org_context import OrgContext
from engine.model.cron import previous_time
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent
from engine.model.states import Reason
from engine.store.database import Connection
from engine.store.rows.sources import ScheduledSource
from engine.store.run import execute, fetch

_CONSUMER = "schedule"


@dataclass(frozen=True, slots=True)
class _Due:
    dataset: str
    before: str | None
    at: datetime


async def fire_due(conn: Connection, org: OrgContext) -> int:
    """Ingest an event for each source due since its last event, and return the number of events.

    The database's clock decides. Times missed while no engine ran are merged into one event. A new
    or changed schedule first fires at the next time after its deploy.
    """
    rows = await fetch(conn, "schedule.sources", ScheduledSource, org_id=org.id)
    return await _fire(conn, org, rows)


async def restart(conn: Connection, org: OrgContext, datasets: Collection[str]) -> None:
    """Have other schedules of some datasets begin now.

    Must run in the transaction of the deploy, before it makes them current: times of the current
    schedules missed until now still count.
    """
    rows = await fetch(conn, "schedule.sources", ScheduledSource, org_id=org.id)
    await _fire(conn, org, [row for row in rows if row.dataset in datasets])
    await execute(conn, "schedule.restart", org_id=org.id, datasets=list(datasets))


async def _fire(conn: Connection, org: OrgContext, rows: Iterable[ScheduledSource]) -> int:
    fired = 0
    for row in rows:
        due = _due(row)
        if due is None:
            continue
        try:
            await ingest(conn, org, _batch(due))
            fired += 1
        except PositionLost:
            continue  # another engine fired it first
    return fired


def _due(row: ScheduledSource) -> _Due | None:
    """Return the latest time of the cron expression, or None if it has already fired."""
    now = row.now.astimezone(ZoneInfo(row.source.get("zone", "UTC")))
    last = previous_time(row.source["cron"], now)
    since = row.position or row.since.isoformat()
    if last is None or last <= datetime.fromisoformat(since):
        return None
    return _Due(row.dataset, row.position, last)


def _batch(due: _Due) -> Batch:
    stream, position = f"schedule/{due.dataset}", due.at.isoformat()
    event = SourceEvent(dataset=due.dataset, reason=Reason.SCHEDULE, time=position, source=stream)
    return Batch(
        consumer=_CONSUMER,
        received=(Received.one(event, Delivery(stream, position)),),
        advances=(Advance(stream=stream, before=due.before, after=position),),
    )
