"""The engine process: plan, reap, publish, fire, appear, audit, and so on, each in a loop."""

import asyncio
from time import perf_counter

import msgspec
import structlog

from engine.flow.deployment.trim_proposals import trim
from engine.flow.execution.reap import reap
from engine.flow.ingestion.schedules import fire_due
from engine.flow.planning.appear import appear
from engine.flow.planning.audit import audit_all
from engine.flow.planning.frozen_planners import release_frozen
from engine.flow.planning.pending_work import Verdict
from engine.flow.planning.plan import Planned, plan
from engine.flow.retention.archive import archive
from engine.flow.retention.expire import expire
from engine.flow.retention.publish import publish
from engine.flow.retention.sweep import sweep
from engine.flow.retention.trim_logs import trim_logs
from engine.flow.shared.org_context import OrgContext
from engine.loops.notification_listener import NotificationListener, Waker
from engine.loops.notifier import Notifier
from engine.loops.orgs import ListedOrg, Work, for_each_org
from engine.loops.periodic import run_periodically
from engine.model.states import PlanState
from engine.monitor import metrics
from engine.settings import Settings
from engine.store.database import Database
from engine.store.notifications import INVALIDATIONS

_log = structlog.get_logger(__name__)
_FROZEN_SECONDS = 60.0
_SCHEDULE_SECONDS = 5.0
_APPEAR_SECONDS = 5.0
_TRIM_SECONDS = 3600.0
_ARCHIVE_SECONDS = 60.0
_EXPIRE_SECONDS = 3600.0
_SWEEP_SECONDS = 3600.0


class Engine:
    """One engine for one org; any number of them may run at once.

    Engines of one process may share a ``listener`` for `INVALIDATIONS` that runs already.
    """

    def __init__(
        self,
        database: Database,
        org: OrgContext,
        settings: Settings,
        listener: NotificationListener | None = None,
    ) -> None:
        self._database = database
        self._org = org
        self._settings = settings
        self._listener = listener
        self._notifier = Notifier(database, org, settings.webhook_networks)
        self._audited: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Run all loops until ``stop`` is set, and let their current steps finish."""
        if self._listener is not None:
            with self._listener.waker(self._org.id) as waker:
                await self._run(stop, waker)
            return
        listener = NotificationListener(self._database, [INVALIDATIONS])
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.run(stop))
            await self._run(stop, listener)

    async def _run(self, stop: asyncio.Event, waker: Waker) -> None:
        settings = self._settings
        _log.info("engine is up", org=str(self._org.id))
        async with asyncio.TaskGroup() as group:
            for loop in (
                run_periodically("plan", self._plan, stop, settings.poll_seconds, waker.wait),
                run_periodically("reap", self._reap, stop, settings.reap_seconds),
                run_periodically("release", self._release, stop, _FROZEN_SECONDS),
                run_periodically("publish", self._publish, stop, settings.poll_seconds),
                run_periodically("notify", self._notifier.deliver, stop, settings.poll_seconds),
                run_periodically("schedule", self._fire, stop, _SCHEDULE_SECONDS),
                run_periodically("appear", self._appear, stop, _APPEAR_SECONDS),
                run_periodically("audit", self._audit, stop, settings.audit_seconds),
                run_periodically("trim", self._trim, stop, _TRIM_SECONDS),
                run_periodically("archive", self._archive, stop, _ARCHIVE_SECONDS),
                run_periodically("expire", self._expire, stop, _EXPIRE_SECONDS),
                run_periodically("sweep", self._sweep, stop, _SWEEP_SECONDS),
            ):
                group.create_task(loop)
        for verdict in self._audited:
            self._set_audited(verdict, 0)
        _log.info("engine is down")

    async def _plan(self) -> bool:
        # The planning lock is held across transactions.
        async with self._database.direct_connection() as conn:
            began = perf_counter()
            planned = await plan(conn, self._org, self._settings.batch_size)
        if planned is not None:
            _count(planned, perf_counter() - began)
            _report(planned)
        return planned is not None

    async def _reap(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            reaped = await reap(conn, self._org)
        if reaped:
            metrics.TASKS_REAPED.inc(reaped)
            _log.warning("expired leases reaped", tasks=reaped)
        return reaped > 0

    async def _release(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            return await release_frozen(conn, self._org)

    async def _publish(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            return await publish(conn)

    async def _fire(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            fired = await fire_due(conn, self._org)
        metrics.EVENTS_RECEIVED.labels("schedule", "").inc(fired)
        return False

    async def _appear(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            appeared = await appear(conn, self._org)
        if appeared:
            _log.info("partitions have come into being", invalidations=appeared)
        return False

    async def _audit(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            counts = await audit_all(conn, self._org, mend=True)
        for verdict in ("in_hand", "left", "lost"):
            count = getattr(counts, verdict)
            self._set_audited(verdict.replace("_", " "), count)
        metrics.AUDIT_LOST.inc(counts.lost)
        for partition in counts.shown:
            if partition.verdict == Verdict.LOST:
                _log.error(
                    "stale partition without pending work: invalidated",
                    **msgspec.to_builtins(partition),
                )
        return False

    def _set_audited(self, verdict: str, count: int) -> None:
        """Replace this engine's part of a gauge that sums the orgs of the process."""
        change = count - self._audited.get(verdict, 0)
        metrics.AUDITED_PARTITIONS.labels(verdict).inc(change)
        self._audited[verdict] = count

    async def _trim(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            trimmed = await trim(conn, self._org)
        if trimmed:
            _log.info("expired proposals deleted", plans=trimmed)
        return False

    async def _archive(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            archived = await archive(conn, self._org, self._settings.archive_seconds)
            return await trim_logs(conn, self._org) or archived > 0

    async def _expire(self) -> bool:
        settings = self._settings
        async with self._database.org_connection(self._org.id) as conn:
            months = await expire(
                conn,
                settings.history_days,
                settings.idempotency_days,
                settings.message_days,
                settings.events_days,
            )
        if months:
            _log.info("history expired", partitions=months)
        return bool(months)

    async def _sweep(self) -> bool:
        async with self._database.org_connection(self._org.id) as conn:
            swept = await sweep(conn, self._org, self._settings.version_days)
        if swept:
            _log.info("old versions removed", **msgspec.to_builtins(swept))
        return swept is not None


def engines_of_all_orgs(database: Database, settings: Settings) -> Work:
    """Return the work of an engine for each org; the engines share one listener."""
    listener = NotificationListener(database, [INVALIDATIONS])

    def start(org: ListedOrg) -> Work:
        return Engine(database, OrgContext(org.id), settings, listener).run

    async def run(stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.run(stop))
            await for_each_org(database, start)(stop)

    return run


def _count(planned: Planned, seconds: float) -> None:
    metrics.PLANNING_SECONDS.observe(seconds)
    metrics.INVALIDATIONS_PLANNED.inc(planned.invalidations)
    if planned.plan_id is None:
        return
    metrics.PLANS.labels(
        PlanState.PENDING_APPROVAL if planned.exceeded_limits else PlanState.APPLIED
    ).inc()
    if not planned.exceeded_limits:
        metrics.PLAN_TASKS.observe(planned.tasks)


def _report(planned: Planned) -> None:
    about = {"invalidations": planned.invalidations, "plan": str(planned.plan_id)}
    if planned.exceeded_limits:
        _log.warning(
            "plan pending approval", why="; ".join(map(str, planned.exceeded_limits)), **about
        )
    elif planned.plan_id is not None:
        _log.info("planned", tasks=planned.tasks, **about)
