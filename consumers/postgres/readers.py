"""Who reads a source's change log, how far behind each is, and what becomes of one that is gone.

The log is kept for all readers that are known to it. One that is forgotten keeps it no longer; if
it comes back all the same, it has to take everything for changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from consumers.postgres.log import START, Position, register, trim
from consumers.postgres.statements import statement
from engine.errors import InvalidInput, UnknownName

_Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader with what it has not taken in: about ``rows``, the oldest ``seconds`` old."""

    name: str
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class State:
    """The used part of the source's NOTIFY queue, and all readers but those forgotten."""

    queue_usage: float
    readers: tuple[Reader, ...]


async def state(connection: AsyncConnection[Any]) -> State:
    """Look how the log and its readers are, in one round trip."""
    rows = await _fetch(connection, "readers.state")
    readers = (row for row in rows if row["name"] is not None)
    return State(
        queue_usage=rows[0]["queue_usage"],
        readers=tuple(Reader(row["name"], row["rows"], row["seconds"]) for row in readers),
    )


async def enter(
    connection: AsyncConnection[Any], consumer: str, *, has_read: bool
) -> Position | None:
    """Be known as at work under a name, until the session ends.

    Returns None, or where to read on if changes may have gone that the reader has not seen: then
    it still counts as one that has missed something, until it settles.
    """
    await connection.execute(statement("readers.enter"), {"consumer": consumer})
    rows = await _fetch(connection, "readers.one", consumer=consumer)
    mark = Position.from_text(rows[0]["position"]).mark if rows else None
    if mark is None and (rows or not has_read):
        return None
    await register(connection, consumer, Position(START.seen, mark="missed"))
    # only now, when nothing is trimmed any more
    return Position((await _fetch(connection, "readers.now"))[0]["seen"])


async def forget(connection: AsyncConnection[Any], consumer: str) -> int:
    """Keep the log no longer for a reader that will not come back; returns the rows trimmed.

    Raises:
        UnknownName: no such reader is known.
        InvalidInput: it is at work.
    """
    async with connection.transaction():
        known = await _known(connection)
        if consumer not in known:
            names = ", ".join(known) or "none"
            raise UnknownName(f"the change log has no reader {consumer!r}; its readers: {names}")
        (row,) = await _fetch(connection, "readers.is_free", consumer=consumer)
        if not row["is_free"]:
            raise InvalidInput(f"reader {consumer!r} is at work: stop it before it is forgotten")
        await register(connection, consumer, Position(START.seen, mark="forgotten"))
    trimmed = 0
    while count := await trim(connection):
        trimmed += count
    return trimmed


async def attached_datasets(connection: AsyncConnection[Any]) -> Sequence[str]:
    """The datasets that the source's tables are attached to."""
    return [row["dataset"] for row in await _fetch(connection, "readers.datasets")]


async def _known(connection: AsyncConnection[Any]) -> list[str]:
    (row,) = await _fetch(connection, "readers.log")
    return [each.name for each in (await state(connection)).readers] if row["is_there"] else []


async def _fetch(connection: AsyncConnection[Any], name: str, **parameters: Any) -> _Rows:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement(name), parameters)
    return await cursor.fetchall()
