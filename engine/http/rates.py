"""Rates of requests, by token buckets."""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from time import monotonic

from starlette.types import ASGIApp, Receive, Scope, Send

from engine.http.problems import RequestError
from engine.token_bucket import TokenBucket

_MOST_KEYS = 10_000
"""Keys with a bucket: beyond it, the bucket unused for longest is dropped, which is a full one."""

_REFUSAL = "a key permits {rate:g} requests per second: send fewer"


class Buckets:
    """Token buckets by key, filled at a rate; ``refusal`` is the error for an empty one.

    A bucket holds the tokens of ``burst_seconds``.
    """

    def __init__(
        self,
        rate: float,
        refusal: str,
        burst_seconds: float = 1.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._rate = rate
        self._refusal = refusal
        self._new_bucket = partial(TokenBucket, clock, burst_seconds)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def require(self, key: str) -> None:
        """Raise RequestError if the bucket of a key is empty."""
        if seconds := self._bucket(key).wait(self._rate):
            raise too_many(self._refusal.format(rate=self._rate), seconds)

    def spend(self, key: str) -> None:
        """Take a token from the bucket of a key."""
        self._bucket(key).spend(self._rate)

    def _bucket(self, key: str) -> TokenBucket:
        bucket = self._buckets.setdefault(key, self._new_bucket())
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MOST_KEYS:
            self._buckets.popitem(last=False)
        return bucket


class RateLimit:
    """Middleware that rejects requests of a key beyond a rate, averaged over a second."""

    def __init__(
        self, app: ASGIApp, per_second: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._app = app
        self._rate = per_second
        self._buckets = Buckets(per_second, _REFUSAL, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a token for the request. Raises RequestError."""
        key = scope["state"].get("key_prefix")
        if key is not None and math.isfinite(self._rate):
            self.take(key)
        await self._app(scope, receive, send)

    def take(self, key: str) -> None:
        """Take a token from the bucket of a key. Raises RequestError."""
        self._buckets.require(key)
        self._buckets.spend(key)


def too_many(detail: str, seconds: float) -> RequestError:
    """Return the error for a request beyond a limit, to be repeated after some seconds."""
    return RequestError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_requests",
        detail,
        headers={"retry-after": str(max(math.ceil(seconds), 1))},
    )
