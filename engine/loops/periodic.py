"""Background loops: run one step again and again, and survive every error of the database."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from psycopg_pool import PoolTimeout

from engine.errors import KnockonError
from engine.monitor.metrics import LOOP_ERRORS
from engine.monitor.pulse import pulsing
from engine.stopping import unless_stopped
from engine.store.outages import is_conflict, is_starved, is_transient

_log = structlog.get_logger(__name__)
_LONGEST_PAUSE = 5.0
_MOST_DOUBLINGS = 6

Step = Callable[[], Awaitable[bool]]
"""One unit of a loop's work; returns True when more work may be ready immediately."""
Wait = Callable[[float], Awaitable[None]]


async def run_periodically(
    name: str, step: Step, stop: asyncio.Event, seconds: float, wait: Wait | None = None
) -> None:
    """Run ``step`` until no work is left, sleep for ``seconds``, and repeat until ``stop`` is set.

    ``wait`` replaces the sleep where a notification can end it early. Errors never end the loop:
    each is logged and followed by a pause, which doubles while errors continue.
    """
    failures = 0
    with pulsing(name, seconds) as pulse:
        while not stop.is_set():
            pulse.beat()
            try:
                more = await step()
            except Exception as error:
                failures = min(failures + 1, _MOST_DOUBLINGS)
                _report(name, error)
                await pause(stop, min(0.1 * 2**failures, _LONGEST_PAUSE))
                continue
            failures = 0
            if not more:
                if wait is None:
                    await pause(stop, seconds)
                else:
                    await unless_stopped(stop, wait(seconds))


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but return early when ``stop`` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def _report(name: str, error: Exception) -> None:
    LOOP_ERRORS.labels(name).inc()
    if is_conflict(error):
        _log.info("interrupted by a concurrent transaction; retrying", loop=name)
    elif isinstance(error, PoolTimeout) or is_transient(error) or is_starved(error):
        _log.warning(
            "the database is unavailable or overloaded; retrying",
            loop=name,
            why=str(error).strip(),
        )
    elif isinstance(error, KnockonError):
        _log.error(str(error), loop=name)
    else:
        _log.exception("unexpected error; retrying", loop=name)
