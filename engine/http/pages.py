"""Pages of lists: a cursor names the last item of a page, and the next page continues after it.

A cursor stays valid while rows are added and removed, which no offset does.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import Depends, Query

from engine.errors import InvalidInput
from engine.service.keyset import NEWEST, NEWEST_NUMBER
from engine.service.responses import Page

__all__ = ["Page", "Paging", "PagingOf", "cursor_of"]

T = TypeVar("T")
_MOST = 1_000
_DEFAULT = 50
_LONGEST_CURSOR = 1_000


@dataclass(frozen=True, slots=True)
class Paging:
    """The requested page of a list."""

    limit: int
    cursor: str | None

    @property
    def rows(self) -> int:
        """Return the number of rows to read: one more than the page, to detect the last page."""
        return self.limit + 1

    @property
    def before(self) -> UUID:
        """Return the id before which the page begins. Raises InvalidInput."""
        if self.cursor is None:
            return NEWEST
        return _converted(UUID, self.cursor)

    @property
    def before_number(self) -> int:
        """Return the number before which the page begins. Raises InvalidInput."""
        return NEWEST_NUMBER if self.cursor is None else self.number

    @property
    def number(self) -> int:
        """Return the number in the cursor. Raises InvalidInput."""
        number = _converted(int, self.cursor or "")
        if not 0 <= number <= NEWEST_NUMBER:
            raise _malformed()
        return number

    def of(self, rows: Sequence[T], key: Callable[[T], object]) -> Page[T]:
        """Return the page of `rows` that begins at the cursor; ``key`` identifies a row."""
        if len(rows) <= self.limit:
            return Page(rows)
        items = rows[: self.limit]
        return Page(items, cursor_of(key(items[-1])))

    def part_of(self, rows: Sequence[T], key: Callable[[T], object]) -> Page[T]:
        """Return the page of a complete list that fits into memory. Raises InvalidInput."""
        if self.cursor is None:
            return self.of(rows[: self.rows], key)
        text = _text(self.cursor)
        for index, row in enumerate(rows):
            if str(key(row)) == text:
                return self.of(rows[index + 1 : index + 1 + self.rows], key)
        raise InvalidInput("the item of the cursor is gone: read the list from the beginning")


def cursor_of(key: object) -> str:
    """Return the cursor for the position after an item."""
    return urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


async def _paging(
    limit: Annotated[int, Query(ge=1, le=_MOST, description="Most items of a page.")] = _DEFAULT,
    cursor: Annotated[
        str | None,
        Query(max_length=_LONGEST_CURSOR, description="`next` of the page before."),
    ] = None,
) -> Paging:
    return Paging(limit, cursor)


PagingOf = Annotated[Paging, Depends(_paging)]


def _converted(convert: Callable[[str], T], cursor: str) -> T:
    try:
        return convert(_text(cursor))
    except ValueError:
        raise _malformed() from None


def _text(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except ValueError:
        raise _malformed() from None


def _malformed() -> InvalidInput:
    return InvalidInput("the cursor is malformed: pass `next` of the page before, unchanged")
