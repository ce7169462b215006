"""Token buckets: rates averaged over some seconds."""

from collections.abc import Callable
from time import monotonic


class TokenBucket:
    """The tokens of one sender: at most those of some seconds, and at least one.

    Tokens may be spent before they exist. The debt delays what follows, so that the rate holds
    whatever the sizes of the parts.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, burst_seconds: float = 1.0) -> None:
        self._clock = clock
        self._burst_seconds = burst_seconds
        self._tokens: float | None = None
        self._at = clock()

    def wait(self, per_second: float) -> float:
        """Return the seconds until a token exists; 0 if one does."""
        now, most = self._clock(), max(per_second * self._burst_seconds, 1.0)
        tokens = most if self._tokens is None else self._tokens
        self._tokens = min(most, tokens + (now - self._at) * per_second)
        self._at = now
        return max(1 - self._tokens, 0) / per_second

    def spend(self, per_second: float, tokens: float = 1) -> None:
        """Take tokens, also those of the future."""
        self.wait(per_second)
        assert self._tokens is not None  # noqa: S101  set by the wait
        self._tokens -= tokens
