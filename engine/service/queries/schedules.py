"""Schedules of sources, with their last and next times."""

from datetime import datetime
from typing import Any

import msgspec

from engine.flow.ingestion.schedules import last_firing, next_firing, partitions_at
from engine.flow.shared.pauses import Pauses, load_pauses
from engine.lineage.graph import Lineage
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.store.rows.pauses import Pause
from engine.store.rows.sources import ScheduledSource
from engine.store.run import fetch


class ScheduleRow(msgspec.Struct, frozen=True):
    """A dataset that changes on a schedule; ``cron`` is evaluated in ``zone``.

    ``covers`` are the first and the last window that count as changed, from that of the time on;
    null for the window that has just ended, "all" for the whole dataset. ``last_at`` is null before
    the first time after the deploy. ``next_at`` is in the past if ``is_overdue``, because no engine
    has run since. ``next_partitions`` are those that count as changed then; null for the whole
    dataset. With a ``pause``, its own or the org's, the changes are recorded and not planned.
    """

    dataset: str
    dag: str
    job: str
    cron: str
    zone: str
    covers: Any
    last_at: datetime | None
    next_at: datetime
    is_overdue: bool
    next_partitions: tuple[str, ...] | None
    pause: Pause | None


@requires(Role.READER)
async def schedules(caller: Caller, service: Service) -> list[ScheduleRow]:
    """List the schedules of all deployed DAGs, the next to fire first."""
    async with service.snapshot(caller) as (conn, org):
        lineage, pauses = await org.lineage(conn), await load_pauses(conn, org)
        visible = await service.visibility(caller, conn, org)
        sources = await fetch(conn, "schedule.sources", ScheduledSource, org_id=org.id)
    shown = (row for row in sources if row.dataset not in visible.dataset_names)
    rows = [_row(row, lineage, pauses) for row in shown]
    return sorted(rows, key=lambda row: (row.next_at, row.dataset))


def _row(row: ScheduledSource, lineage: Lineage, pauses: Pauses) -> ScheduleRow:
    dataset, next_at = lineage.dataset_named(row.dataset), next_firing(row)
    job = lineage.producer(dataset.id)
    return ScheduleRow(
        dataset=row.dataset,
        dag=job.dag_name,
        job=job.name,
        cron=row.source["cron"],
        zone=row.source.get("zone", "UTC"),
        covers=row.source.get("covers"),
        last_at=last_firing(row),
        next_at=next_at,
        is_overdue=next_at <= row.now,
        next_partitions=partitions_at(row, lineage.space(dataset.id), next_at),
        pause=pauses.of_dataset(row.dataset),
    )
