"""Lists read page by page, as iterators."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from engine.client.connections import AsyncConnection, Connection
from engine.client.requests import Request
from engine.service.responses import Page

T = TypeVar("T")
_MOST: Final = 1_000
_DEFAULT: Final = 200


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """The items of a list; each iteration reads the list from the beginning."""

    connection: Connection
    request: Request[Page[T]]

    def __iter__(self) -> Iterator[T]:
        return self._items(_DEFAULT)

    def first(self, count: int) -> list[T]:
        """Return the first items, up to ``count``."""
        return [item for _, item in zip(range(count), self._items(count), strict=False)]

    def all(self) -> list[T]:
        """Return all items."""
        return [*self._items(_MOST)]

    def _items(self, wanted: int) -> Iterator[T]:
        request = self.request.with_query(limit=min(max(wanted, 1), _MOST))
        page = self.connection.send(request)
        yield from page.items
        while page.next is not None:
            page = self.connection.send(request.with_query(cursor=page.next))
            yield from page.items


@dataclass(frozen=True, slots=True)
class AsyncPages(Generic[T]):
    """The items of a list; each iteration reads the list from the beginning."""

    connection: AsyncConnection
    request: Request[Page[T]]

    def __aiter__(self) -> AsyncIterator[T]:
        return self._items(_DEFAULT)

    async def first(self, count: int) -> list[T]:
        """Return the first items, up to ``count``."""
        items: list[T] = []
        async for item in self._items(count):
            items.append(item)
            if len(items) == count:
                break
        return items

    async def all(self) -> list[T]:
        """Return all items."""
        return [item async for item in self._items(_MOST)]

    async def _items(self, wanted: int) -> AsyncIterator[T]:
        request = self.request.with_query(limit=min(max(wanted, 1), _MOST))
        page = await self.connection.send(request)
        for item in page.items:
            yield item
        while page.next is not None:
            page = await self.connection.send(request.with_query(cursor=page.next))
            for item in page.items:
                yield item
