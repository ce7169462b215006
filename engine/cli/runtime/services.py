"""Services that run until a signal."""

import asyncio
import signal
from collections.abc import Sequence

import structlog

from engine.cli.runtime.monitor import monitored
from engine.cli.runtime.session import Session
from engine.garbage_collection import tune_gc
from engine.loops.orgs import Work
from engine.loops.schema_watch import SchemaWatch
from engine.model.presence import Presence, ProcessKind

_log = structlog.get_logger(__name__)


async def serve(session: Session, *services: Work, kinds: tuple[ProcessKind, ...] = ()) -> None:
    """Run services until SIGINT or SIGTERM; each finishes the current work.

    ``kinds`` of work are shown to other processes.

    A second signal cancels all services. A failing service stops the others. The monitor responds
    until all services have ended. Raises OutdatedCode if they ended because a migration requires
    newer code.
    """
    tune_gc()
    stop = asyncio.Event()
    presence, has_engine = Presence(session.org.slug, kinds), ProcessKind.ENGINE in kinds
    async with SchemaWatch(session.database, stop.set, presence=presence) as watch:
        async with monitored(session, has_engine=has_engine), asyncio.TaskGroup() as group:
            tasks = [group.create_task(_guarded(service, stop)) for service in services]
            _handle_signals(stop, tasks)
        watch.check()


async def _guarded(service: Work, stop: asyncio.Event) -> None:
    try:
        await service(stop)
    finally:
        stop.set()


def _handle_signals(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    def handle() -> None:
        if stop.is_set():
            for task in tasks:
                task.cancel()
        else:
            _log.info("stopping; a second signal stops immediately")
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, handle)
