"""Scheduled sources: partitions count as changed at the times of a source's cron expression."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import structlog

from engine.errors import InvalidInput, PositionLost
from engine.flow.ingestion.ingest import ingest
from engine.flow.shared.org_context import OrgContext
from engine.lineage.schedules import covered, covers_all
from engine.model.cron import next_time, previous_time, previous_times
from engine.model.event import Advance, Batch, Delivery, Received, SourceEvent
from engine.model.states import Reason
from engine.partitions import PartitionSpace
from engine.store.database import Connection
from engine.store.rows.sources import ScheduledSource
from engine.store.run import execute, fetch

_log = structlog.get_logger(__name__)
_CONSUMER = "schedule"
_MOST_TIMES = 1000
"""Number of missed times from the last on; earlier ones count as without gaps."""


@dataclass(frozen=True, slots=True)
class _Due:
    """Times of a source that are due, with their partitions; None stands for the dataset."""

    dataset: str
    before: str | None
    at: datetime
    partitions: tuple[str, ...] | None


async def fire_due(conn: Connection, org: OrgContext) -> int:
    """Ingest an event for each source due since its last event, and return the number of events.

    The database's clock decides. Times missed while no engine ran are merged into one event, with
    the partitions of each. A new or changed schedule first fires at the next time after its deploy.
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


def last_firing(row: ScheduledSource) -> datetime | None:
    """Return the time at which a source last fired, None before its first time."""
    since = _since(row).astimezone(_zone(row))
    last = previous_time(row.source["cron"], since + timedelta(seconds=1))
    return last if last == since else None  # otherwise it is the time of the deploy


def next_firing(row: ScheduledSource) -> datetime:
    """Return the first time after the last one; it has passed if no engine has fired it yet."""
    return next_time(row.source["cron"], _since(row).astimezone(_zone(row)))


def partitions_at(
    row: ScheduledSource, space: PartitionSpace, time: datetime
) -> tuple[str, ...] | None:
    """Return the partitions that a source marks as changed at a time; None: the whole dataset."""
    if covers_all(space, row.source):
        return None
    return tuple(space.texts(covered(space, row.source, [time])))


async def _fire(conn: Connection, org: OrgContext, rows: Iterable[ScheduledSource]) -> int:
    """Fire what is due; a schedule that cannot fire stops neither the others nor a deploy."""
    fired = 0
    for row in rows:
        times = _due_times(row)
        if not times:
            continue
        lineage = await org.lineage(conn)
        space = lineage.space(lineage.dataset_named(row.dataset).id)
        try:
            await ingest(conn, org, _batch(_due(row, times, space)))
            fired += 1
        except PositionLost:
            continue  # another engine fired it first
        except InvalidInput as error:
            _log.error("schedule cannot fire: correct it", dataset=row.dataset, why=str(error))
    return fired


def _due_times(row: ScheduledSource) -> list[datetime]:
    """Return the last times that have not fired yet, in ascending order."""
    now, since = row.now.astimezone(_zone(row)), _since(row)
    later = takewhile(lambda time: time > since, previous_times(row.source["cron"], now))
    return list(islice(later, _MOST_TIMES))[::-1]


def _since(row: ScheduledSource) -> datetime:
    return datetime.fromisoformat(row.position or row.since.isoformat())


def _zone(row: ScheduledSource) -> ZoneInfo:
    return ZoneInfo(row.source.get("zone", "UTC"))


def _due(row: ScheduledSource, times: Sequence[datetime], space: PartitionSpace) -> _Due:
    is_gapless = len(times) < _MOST_TIMES
    first = [] if is_gapless else [next_firing(row)]
    partitions = covered(space, row.source, [*first, *times], is_gapless=is_gapless)
    # Windows are named, even if they are all of the dataset: some may not be known yet.
    texts = None if covers_all(space, row.source) else tuple(space.texts(partitions))
    return _Due(row.dataset, row.position, times[-1], texts)


def _batch(due: _Due) -> Batch:
    stream, position = f"schedule/{due.dataset}", due.at.isoformat()
    event = SourceEvent(
        dataset=due.dataset,
        partitions=due.partitions,
        reason=Reason.SCHEDULE,
        time=position,
        source=stream,
    )
    is_empty = due.partitions == ()  # all windows are beyond the bounds
    return Batch(
        consumer=_CONSUMER,
        received=() if is_empty else (Received.one(event, Delivery(stream, position)),),
        advances=(Advance(stream=stream, before=due.before, after=position),),
    )
