"""Operations that start again after a deadlock.

A deploy locks tasks of several DAGs, so that no order of locks excludes a deadlock with
completions, which lock a task and its dependents.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from psycopg.errors import DeadlockDetected

from engine.retries import retrying

T = TypeVar("T")

_ATTEMPTS = 5


async def again_after_deadlock(work: Callable[[], Awaitable[T]]) -> T:
    """Run work that is one transaction, again if it was the victim of a deadlock."""
    async for attempt in retrying(_is_deadlock, attempts=_ATTEMPTS):
        with attempt:
            return await work()
    raise AssertionError("the last attempt returns or raises")


def _is_deadlock(error: BaseException) -> bool:
    return isinstance(error, DeadlockDetected)
