"""A duty: one verb done again and again, on a bell or after a while, whatever the database does."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from psycopg_pool import PoolTimeout

from engine.errors import KnockonError
from engine.monitor.metrics import DUTY_ERRORS
from engine.monitor.pulse import pulsing
from engine.store.database import is_starved, is_transient

_log = structlog.get_logger(__name__)
_LONGEST_PAUSE = 5.0
_MOST_DOUBLINGS = 6

Wait = Callable[[float], Awaitable[None]]
Verb = Callable[[], Awaitable[bool]]


async def keep(name: str, verb: Verb, stop: asyncio.Event, seconds: float, wait: Wait) -> None:
    """Do ``verb`` until it says that nothing is left, then ``wait``, until ``stop`` is set.

    An error never ends the duty: it is logged, and after a growing pause the verb comes again.
    """
    failures = 0
    with pulsing(name, seconds) as pulse:
        while not stop.is_set():
            pulse.beat()
            try:
                more = await verb()
            except Exception as error:
                failures = min(failures + 1, _MOST_DOUBLINGS)
                _report(name, error)
                await pause(stop, min(0.1 * 2**failures, _LONGEST_PAUSE))
                continue
            failures = 0
            if not more:
                await _until(stop, wait, seconds)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not past ``stop``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _until(stop: asyncio.Event, wait: Wait, seconds: float) -> None:
    waiting = asyncio.ensure_future(wait(seconds))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for each in (waiting, stopping):
        each.cancel()
    await asyncio.gather(waiting, stopping, return_exceptions=True)


def _report(name: str, error: Exception) -> None:
    DUTY_ERRORS.labels(name).inc()
    if isinstance(error, PoolTimeout) or is_transient(error) or is_starved(error):
        _log.warning(
            "the database is away, busy or full, retrying", duty=name, why=str(error).strip()
        )
    elif isinstance(error, KnockonError):
        _log.error(str(error), duty=name)
    else:
        _log.exception("unexpected error, retrying", duty=name)
