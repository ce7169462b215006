"""Cached metadata of the provider, which an outage or a flood of unknown keys leaves in use."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from time import monotonic
from typing import Final

import structlog
from joserfc.jwk import Key

from engine.errors import ServiceUnavailable
from engine.oidc.metadata import Metadata

_log = structlog.get_logger(__name__)
REFRESH_SECONDS: Final = 3_600.0
LONGEST_SECONDS: Final = 86_400.0
"""Age of metadata that an outage may leave in use: a withdrawn key must not be valid forever."""
ATTEMPT_SECONDS: Final = 15.0
"""Least time between two attempts, so that tokens with random key ids cause few of them."""


class MetadataCache:
    """Metadata, fetched again every hour, and for an unknown key at most every 15 seconds."""

    def __init__(
        self, fetch: Callable[[], Awaitable[Metadata]], clock: Callable[[], float] = monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._fetched_at = self._attempted_at = -inf
        self._error: ServiceUnavailable | None = None

    async def metadata(self) -> Metadata:
        """Return the metadata, at most a day old. Raises ServiceUnavailable."""
        if self._age > REFRESH_SECONDS and (self._metadata is None or not self._lock.locked()):
            await self._refresh()
        if self._metadata is None or self._age > LONGEST_SECONDS:
            raise self._error or ServiceUnavailable("the keys of the identity provider are too old")
        return self._metadata

    async def key(self, key_id: str) -> Key | None:
        """Return a key by id; None if the provider has none. Raises ServiceUnavailable."""
        key = (await self.metadata()).keys.get(key_id)
        if key is not None:
            return key
        await self._refresh()
        if self._error is not None:
            raise self._error  # the key may be a new one
        return (await self.metadata()).keys.get(key_id)

    @property
    def _age(self) -> float:
        return self._clock() - self._fetched_at

    async def _refresh(self) -> None:
        """Fetch the metadata, unless another request has just attempted that."""
        async with self._lock:
            if self._clock() - self._attempted_at < ATTEMPT_SECONDS:
                return
            self._attempted_at = self._clock()
            try:
                self._metadata = await self._fetch()
            except ServiceUnavailable as error:
                self._error = error
                _log.warning("cannot fetch the keys of the identity provider", why=str(error))
            else:
                self._fetched_at, self._error = self._clock(), None
