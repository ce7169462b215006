"""Rate of the requests of each key, by token buckets."""

import math
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic

from starlette.types import ASGIApp, Receive, Scope, Send

from engine.http.problems import RequestError
from engine.token_bucket import TokenBucket

_MOST_KEYS = 10_000
"""Keys with a bucket: beyond it, the bucket unused for longest is dropped, which is a full one."""


class RateLimit:
    """Middleware that rejects requests of a key beyond a rate, averaged over a second."""

    def __init__(
        self, app: ASGIApp, per_second: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._app = app
        self._rate = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a token for the request. Raises RequestError."""
        key = scope["state"].get("key_prefix")
        if key is not None and math.isfinite(self._rate):
            self.take(key)
        await self._app(scope, receive, send)

    def take(self, key: str) -> None:
        """Take a token from the bucket of a key. Raises RequestError."""
        bucket = self._buckets.setdefault(key, TokenBucket(self._clock))
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MOST_KEYS:
            self._buckets.popitem(last=False)
        if seconds := bucket.wait(self._rate):
            raise too_many(f"a key permits {self._rate:g} requests per second: send fewer", seconds)
        bucket.spend(self._rate)


def too_many(detail: str, seconds: float) -> RequestError:
    """Return the error for a request beyond a limit, to be repeated after some seconds."""
    return RequestError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_requests",
        detail,
        headers={"retry-after": str(max(math.ceil(seconds), 1))},
    )
