"""Retry transient failures after exponential waits with jitter."""

from collections.abc import Callable

from tenacity import (
    AsyncRetrying,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    stop_any,
    wait_exponential,
    wait_random,
)
from tenacity.stop import stop_base
from tenacity.wait import wait_base

_FIRST_WAIT_SECONDS = 0.1
_JITTER_SECONDS = 1.0
_LONGEST_BLOCKING_WAIT_SECONDS = 1.0


def retrying(
    on: Callable[[BaseException], bool],
    *,
    attempts: int | None = None,
    seconds: float | None = None,
    longest_wait: float = 5.0,
) -> AsyncRetrying:
    """Return an iterator over the attempts of a block; the last failure is raised unchanged.

    ``on`` returns True for exceptions worth another attempt. ``attempts`` and ``seconds`` limit the
    attempts, which are unlimited by default. Waits are in seconds.
    """
    limits: list[stop_base] = [stop_after_attempt(attempts)] if attempts else []
    limits += [stop_after_delay(seconds)] if seconds is not None else []
    return AsyncRetrying(
        retry=retry_if_exception(on),
        stop=stop_any(*limits),
        wait=_waits(longest_wait),
        reraise=True,
    )


def retrying_blocking(on: Callable[[BaseException], bool], *, seconds: float) -> Retrying:
    """Return an iterator over attempts, as `retrying` does, for code outside an event loop."""
    return Retrying(
        retry=retry_if_exception(on),
        stop=stop_after_delay(seconds),
        wait=_waits(_LONGEST_BLOCKING_WAIT_SECONDS),
        reraise=True,
    )


def _waits(longest: float) -> wait_base:
    return wait_exponential(_FIRST_WAIT_SECONDS, longest) + wait_random(0, _JITTER_SECONDS)
