"""Retry transient failures after exponential waits with jitter."""

from collections.abc import Callable

from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    stop_any,
    wait_exponential,
    wait_random,
)
from tenacity.stop import stop_base

_FIRST_WAIT_SECONDS = 0.1
_JITTER_SECONDS = 1.0


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
        wait=wait_exponential(_FIRST_WAIT_SECONDS, longest_wait) + wait_random(0, _JITTER_SECONDS),
        reraise=True,
    )
