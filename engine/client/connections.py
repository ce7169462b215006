"""Connections to a server, blocking and with asyncio, which differ in nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any, Final, TypeVar

import httpx2

from engine.client.outcomes import error_of, seconds_before_retry, unreachable, value_of
from engine.client.requests import Request

T = TypeVar("T")
_TIMEOUT: Final = httpx2.Timeout(60.0, connect=10.0)
"""A claim waits up to 30 seconds, and streams have a heartbeat every 15 seconds."""


class Connection:
    """A blocking connection. Redirects are not followed, since they would take the key along."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._key = key
        self._http = httpx2.Client(base_url=url, timeout=_TIMEOUT)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, request: Request[T]) -> T:
        """Send a request, again after failures that allow it. Raises KnockonError."""
        for attempt in count(1):
            try:
                response = self._http.request(**request.arguments(self._key))
            except httpx2.TransportError as error:
                seconds = seconds_before_retry(request, attempt, error)
                if seconds is None:
                    raise unreachable(self.url, error) from error
            else:
                seconds = seconds_before_retry(request, attempt, response)
                if seconds is None:
                    return value_of(request, response)
            time.sleep(seconds)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def stream(self, request: Request[Any]) -> Iterator[httpx2.Response]:
        """Open a stream. Raises KnockonError."""
        try:
            with self._http.stream(**request.arguments(self._key)) as response:
                if not response.is_success:
                    response.read()
                    raise error_of(response)
                yield response
        except httpx2.TransportError as error:
            raise unreachable(self.url, error) from error


class AsyncConnection:
    """A connection for asyncio. Redirects are not followed, since they would take the key along."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._key = key
        self._http = httpx2.AsyncClient(base_url=url, timeout=_TIMEOUT)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, request: Request[T]) -> T:
        """Send a request, again after failures that allow it. Raises KnockonError."""
        for attempt in count(1):
            try:
                response = await self._http.request(**request.arguments(self._key))
            except httpx2.TransportError as error:
                seconds = seconds_before_retry(request, attempt, error)
                if seconds is None:
                    raise unreachable(self.url, error) from error
            else:
                seconds = seconds_before_retry(request, attempt, response)
                if seconds is None:
                    return value_of(request, response)
            await asyncio.sleep(seconds)
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def stream(self, request: Request[Any]) -> AsyncIterator[httpx2.Response]:
        """Open a stream. Raises KnockonError."""
        try:
            async with self._http.stream(**request.arguments(self._key)) as response:
                if not response.is_success:
                    await response.aread()
                    raise error_of(response)
                yield response
        except httpx2.TransportError as error:
            raise unreachable(self.url, error) from error
