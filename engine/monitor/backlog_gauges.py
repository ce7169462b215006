"""Gauges of the backlog of orgs, read from the database: open, waiting, failed and pending work.

A scrape runs one bounded statement for each org, at most once a second.
"""

import asyncio
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import NamedTuple
from uuid import UUID

import psycopg
import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from psycopg_pool import PoolTimeout

from engine.store.database import Database
from engine.store.orgs import Quotas, settings, stored_log_bytes
from engine.store.rows.monitor import Backlog
from engine.store.rows.orgs import ListedOrg
from engine.store.run import execute, fetch, fetch_one

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


class _Quotas(NamedTuple):
    limits: Quotas
    log_bytes: int


class BacklogGauges:
    """Gauges of one org, or of each org; while the database is unavailable, only its state."""

    def __init__(self, database: Database, org_id: UUID | None) -> None:
        self._database = database
        self._org_id = org_id
        self._backlogs: Mapping[str, Backlog] | None = None
        self._quotas: Mapping[str, _Quotas] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read the database, unless the last reading is less than a second old."""
        async with self._reading:
            if monotonic() - self._read_at > _FRESH_SECONDS:
                self._backlogs = await self._read()
                self._read_at = monotonic()

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges of the last reading."""
        about = "1 while Knockon's database answers, else 0."
        yield GaugeMetricFamily("knockon_database_up", about, self._backlogs is not None)
        if self._backlogs is not None:
            yield _tasks(self._backlogs)
            for column, (name, about) in _GAUGES.items():
                family = GaugeMetricFamily(name, about, labels=["org"])
                for org, backlog in self._backlogs.items():
                    family.add_metric([org], getattr(backlog, column))
                yield family
            yield from _limits(self._quotas)

    async def _read(self) -> Mapping[str, Backlog] | None:
        """Read the backlog of each org, by slug."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._database.transaction() as conn:
                await execute(conn, "monitor.caution")
                every = await fetch(conn, "orgs.all", ListedOrg)
                orgs = [org for org in every if self._org_id in (None, org.id)]
                rows = {
                    org.slug: await fetch_one(
                        conn, "monitor.backlog", Backlog, org_id=org.id, most=_MOST
                    )
                    for org in orgs
                }
                self._quotas = {
                    org.slug: _Quotas(
                        await settings(conn, org.id), await stored_log_bytes(conn, org.id)
                    )
                    for org in orgs
                }
        except (psycopg.Error, PoolTimeout, TimeoutError) as error:
            _log.warning("could not read the backlog gauges", why=str(error).strip() or repr(error))
            return None
        return {slug: backlog for slug, backlog in rows.items() if backlog is not None}


def _limits(quotas: Mapping[str, _Quotas]) -> Iterator[Metric]:
    limits = GaugeMetricFamily(
        "knockon_quota", "Limit of an org by quota, without those not set.", labels=["org", "quota"]
    )
    logs = GaugeMetricFamily(
        "knockon_stored_log_bytes", "Size of an org's logs in the history.", labels=["org"]
    )
    for org, of_org in quotas.items():
        logs.add_metric([org], of_org.log_bytes)
        for quota in Quotas.__struct_fields__:
            if (limit := getattr(of_org.limits, quota)) is not None:
                limits.add_metric([org, quota], limit)
    yield from (limits, logs)


def _tasks(backlogs: Mapping[str, Backlog]) -> Metric:
    about = (
        "Unfinished tasks by state (`blocked`, `waiting_for_inputs`, `queued`, `running`, "
        "`failed`), counted up to 100,000 each; those waiting for inputs need partitions to "
        "exist."
    )
    family = GaugeMetricFamily("knockon_tasks", about, labels=["org", "state"])
    for org, backlog in backlogs.items():
        for state in _STATES:
            family.add_metric([org, state], backlog.tasks[state])
    return family
