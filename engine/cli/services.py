"""Services that run until they are told to stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence

import structlog

from engine.cli.monitor import monitored
from engine.cli.session import Session

Service = Callable[[asyncio.Event], Awaitable[None]]

_log = structlog.get_logger(__name__)


async def serve(session: Session, *services: Service, has_engine: bool = False) -> None:
    """Run services until SIGINT or SIGTERM; each finishes what it has in hand.

    A second signal stops them at once. A service that fails takes the others down with it. The
    monitor, where there is one, answers until all have ended.
    """
    stop = asyncio.Event()
    async with monitored(session, has_engine=has_engine), asyncio.TaskGroup() as group:
        tasks = [group.create_task(_guarded(service, stop)) for service in services]
        _heed_signals(stop, tasks)


async def _guarded(service: Service, stop: asyncio.Event) -> None:
    try:
        await service(stop)
    finally:
        stop.set()


def _heed_signals(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    def heed() -> None:
        if stop.is_set():
            for task in tasks:
                task.cancel()
        else:
            _log.info("stopping; once more to stop at once")
            stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, heed)
