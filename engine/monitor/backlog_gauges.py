"""Gauges of an org's backlog, read from the database: open, waiting, failed and pending work.

A scrape runs one bounded statement, at most once a second.
"""

import asyncio
from collections.abc import Iterator, Mapping
from time import monotonic
from uuid import UUID

import psycopg
import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from psycopg_pool import PoolTimeout

from engine.store.database import Database
from engine.store.rows.monitor import Backlog
from engine.store.run import execute, fetch_one

_log = structlog.get_logger(__name__)
_MOST = 100_000
_FRESH_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0

_GAUGES: Mapping[str, tuple[str, str]] = {
    "open_invalidations": (
        "knockon_open_invalidations",
        "Invalidations not planned yet, counted up to 100,000.",
    ),
    "oldest_invalidation": (
        "knockon_oldest_invalidation_seconds",
        "Age of the oldest invalidation to plan, without those of paused or debounced datasets.",
    ),
    "set_aside_invalidations": (
        "knockon_set_aside_invalidations",
        "Invalidations set aside because planning failed, counted up to 100,000.",
    ),
    "oldest_queued": (
        "knockon_oldest_queued_task_seconds",
        "Waiting time of the task that has been queued longest, without those of paused jobs.",
    ),
    "expired": ("knockon_expired_leases", "Tasks running with an expired lease."),
    "workers": ("knockon_busy_workers", "Workers with a leased task."),
    "dead_letters": (
        "knockon_open_dead_letters",
        "Dead letters neither replayed nor discarded, counted up to 100,000.",
    ),
    "plans_pending_approval": ("knockon_plans_pending_approval", "Plans pending approval."),
    "oldest_pending_approval": (
        "knockon_oldest_plan_pending_approval_seconds",
        "Age of the oldest plan pending approval.",
    ),
    "pauses": ("knockon_pauses", "Paused jobs and datasets, and 1 more if the org is paused."),
    "notification_queue": (
        "knockon_notification_queue_usage_ratio",
        "Used fraction of the NOTIFY queue of Knockon's database.",
    ),
}
_STATES = ("blocked", "waiting_for_inputs", "queued", "running", "failed")


class BacklogGauges:
    """Gauges of one org; while the database is unavailable, only `knockon_database_up`."""

    def __init__(self, database: Database, org_id: UUID) -> None:
        self._database = database
        self._org_id = org_id
        self._backlog: Backlog | None = None
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read the database, unless the last reading is less than a second old."""
        async with self._reading:
            if monotonic() - self._read_at > _FRESH_SECONDS:
                self._backlog = await self._read()
                self._read_at = monotonic()

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges of the last reading."""
        about = "1 while Knockon's database answers, else 0."
        yield GaugeMetricFamily("knockon_database_up", about, self._backlog is not None)
        if self._backlog is not None:
            yield _tasks(self._backlog.tasks)
            for column, (name, about) in _GAUGES.items():
                yield GaugeMetricFamily(name, about, getattr(self._backlog, column))

    async def _read(self) -> Backlog | None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._database.transaction() as conn:
                await execute(conn, "monitor.caution")
                return await fetch_one(
                    conn, "monitor.backlog", Backlog, org_id=self._org_id, most=_MOST
                )
        except (psycopg.Error, PoolTimeout, TimeoutError) as error:
            _log.warning("could not read the backlog gauges", why=str(error).strip() or repr(error))
            return None


def _tasks(counts: Mapping[str, int]) -> Metric:
    about = (
        "Unfinished tasks by state (`blocked`, `waiting_for_inputs`, `queued`, `running`, "
        "`failed`), counted up to 100,000 each; those waiting for inputs need partitions to "
        "exist."
    )
    family = GaugeMetricFamily("knockon_tasks", about, labels=["state"])
    for state in _STATES:
        family.add_metric([state], counts[state])
    return family
