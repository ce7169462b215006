"""Who reads a source's change log, how far behind each is, and what becomes of one that is gone.

The log is kept for all readers that are known to it. One that is forgotten keeps it no longer; if
it comes back all the same, it has to take everything for changed.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from consumers.postgres.log import START, Position, has_change, register, trim
from consumers.postgres.statements import statement
from consumers.postgres.triggers import Tenant
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

    def is_behind(self, name: str) -> bool:
        """Whether the log is kept for a reader."""
        return any(reader.name == name and reader.rows > 0 for reader in self.readers)


async def state(connection: AsyncConnection[Any]) -> State:
    """Look how the log and its readers are, in one round trip."""
    rows = await _fetch(connection, "readers.state")
    readers = (row for row in rows if row["name"] is not None)
    return State(
        queue_usage=rows[0]["queue_usage"],
        readers=tuple(Reader(row["name"], row["rows"], row["seconds"]) for row in readers),
    )


async def registered(connection: AsyncConnection[Any], consumer: str) -> Position | None:
    """A reader's position as the log has it; None if the log has no such reader."""
    rows = await _fetch(connection, "readers.one", consumer=consumer)
    return Position.from_text(rows[0]["position"]) if rows else None


async def enter(
    connection: AsyncConnection[Any],
    tenant: Tenant,
    stored: Callable[[], Awaitable[Position | None]],
) -> Position | None:
    """Register as at work under a name, until the session ends.

    `stored` loads the position in Knockon's database; it is asked between two looks at the one in
    the log, so that a second consumer under the same name is not taken for a restored database.

    Returns None, or the position to read on from if changes may be gone that the reader has not
    seen: until it settles, it still counts as a reader that has missed some.
    """
    await connection.execute(statement("readers.enter"), {"consumer": tenant.consumer})
    before = await registered(connection, tenant.consumer)
    position = await stored()
    if not await _has_missed(connection, tenant, before, position):
        return None
    count = max(before.count if before else 0, position.count if position else 0) + 1
    await register(connection, tenant, Position(START.seen, count=count, mark="missed"))
    # Only now is nothing trimmed any more.
    return Position((await _fetch(connection, "readers.now"))[0]["seen"], count=count)


async def _has_missed(
    connection: AsyncConnection[Any],
    tenant: Tenant,
    before: Position | None,
    stored: Position | None,
) -> bool:
    """Whether changes may have been trimmed unread, or taken in and undone in the source since.

    A page is stored in Knockon's database first and in the log afterwards, so the former is at most
    one page ahead; and then the last change of that page cannot have been trimmed.
    """
    if before is None:
        return stored is not None
    if before.mark is not None:
        return True
    count = stored.count if stored else 0
    if count < before.count:
        return True  # Knockon's database is older than the log
    if count == before.count or stored is None or stored.last is None:
        return False
    is_there = await has_change(connection, stored.last)
    now = await registered(connection, tenant.consumer)
    if now is not None and now.count >= count:
        return False
    return not is_there or now is None or count > now.count + 1


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
        await register(
            connection, Tenant(row["org"], consumer), Position(START.seen, mark="forgotten")
        )
    trimmed = 0
    while count := await trim(connection):
        trimmed += count
    return trimmed


async def attached_datasets(
    connection: AsyncConnection[Any], org: str, legacy: Collection[str] | None = None
) -> Sequence[str]:
    """The datasets that an org's tables are attached to.

    Tables attached by an earlier version count if they are one of the `legacy` datasets, or if that
    is None.
    """
    rows = await _fetch(connection, "readers.datasets", org=org)
    return sorted(
        {
            row["dataset"]
            for row in rows
            if row["is_own"] or legacy is None or row["dataset"] in legacy
        }
    )


async def legacy_datasets(connection: AsyncConnection[Any]) -> Sequence[str]:
    """The datasets of tables that an earlier version attached."""
    rows = await _fetch(connection, "readers.datasets", org=None)
    return [row["dataset"] for row in rows if not row["is_own"]]


async def announce_again(connection: AsyncConnection[Any], org: str) -> None:
    """Record all tables of an org as not announced."""
    await connection.execute(statement("readers.unannounce"), {"org": org})


async def widened(connection: AsyncConnection[Any], consumer: str) -> dict[str, str]:
    """The drift that a reader has taken into account, by attachment."""
    rows = await _fetch(connection, "readers.widened", consumer=consumer)
    return msgspec.json.decode((rows[0]["widened"] if rows else None) or "{}", type=dict[str, str])


async def set_widened(
    connection: AsyncConnection[Any], consumer: str, drift: Mapping[str, str]
) -> None:
    """Record the drift that a reader has taken into account."""
    text = msgspec.json.encode(drift).decode()
    await connection.execute(
        statement("readers.set_widened"), {"consumer": consumer, "widened": text}
    )


async def _known(connection: AsyncConnection[Any]) -> list[str]:
    (row,) = await _fetch(connection, "readers.log")
    return [each.name for each in (await state(connection)).readers] if row["is_there"] else []


async def _fetch(connection: AsyncConnection[Any], name: str, **parameters: Any) -> _Rows:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement(name), parameters)
    return await cursor.fetchall()
