"""The readers of a source's change log: their registration, their lag, and their removal.

The log keeps changes for all registered readers. A forgotten reader no longer counts. If it
returns, it must treat everything as changed.
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
    """A reader and its backlog of about ``rows`` changes, the oldest ``seconds`` old."""

    name: str
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class State:
    """The used fraction of the source's NOTIFY queue, and all readers except forgotten ones."""

    queue_usage: float
    readers: tuple[Reader, ...]

    def is_behind(self, name: str) -> bool:
        """Return whether the log keeps changes for a reader."""
        return any(reader.name == name and reader.rows > 0 for reader in self.readers)


async def state(connection: AsyncConnection[Any]) -> State:
    """Load the state of the log and its readers in one round trip."""
    rows = await _fetch(connection, "readers.state")
    readers = (row for row in rows if row["name"] is not None)
    return State(
        queue_usage=rows[0]["queue_usage"],
        readers=tuple(Reader(row["name"], row["rows"], row["seconds"]) for row in readers),
    )


async def registered(connection: AsyncConnection[Any], consumer: str) -> Position | None:
    """The position that the log has recorded for a reader; None if it has no such reader."""
    rows = await _fetch(connection, "readers.position", consumer=consumer)
    return Position.from_text(rows[0]["position"]) if rows else None


async def enter(
    connection: AsyncConnection[Any],
    tenant: Tenant,
    stored: Callable[[], Awaitable[Position | None]],
) -> Position | None:
    """Register the reader as active until the session ends.

    `stored` loads the position in Knockon's database. It is called between two reads of the
    position in the log, so that a second consumer with the same name is not mistaken for a restored
    database.

    Returns None, or the position to resume from if unread changes may have been lost. In that case
    the log marks the reader as having missed changes until it acknowledges a position.
    """
    await connection.execute(statement("readers.enter"), {"consumer": tenant.consumer})
    before = await registered(connection, tenant.consumer)
    position = await stored()
    if not await _has_missed(connection, tenant, before, position):
        return None
    count = max(before.count if before else 0, position.count if position else 0) + 1
    await register(connection, tenant, Position(START.seen, count=count, mark="missed"))
    # The snapshot must be taken after the registration, which stops trimming.
    return Position((await _fetch(connection, "readers.current_snapshot"))[0]["seen"], count=count)


async def _has_missed(
    connection: AsyncConnection[Any],
    tenant: Tenant,
    before: Position | None,
    stored: Position | None,
) -> bool:
    """Return whether unread changes may have been trimmed, or ingested ones undone in the source.

    A page is stored in Knockon's database first and acknowledged in the log afterwards. So the
    database is at most one page ahead, and the last change of that page cannot have been trimmed.
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
    still_logged = await has_change(connection, stored.last)
    now = await registered(connection, tenant.consumer)
    if now is not None and now.count >= count:
        return False
    return not still_logged or now is None or count > now.count + 1


async def forget(connection: AsyncConnection[Any], consumer: str) -> int:
    """Drop the claim of a retired reader on the log; returns the number of rows trimmed.

    Raises:
        UnknownName: the log has no such reader.
        InvalidInput: the reader is active.
    """
    async with connection.transaction():
        (log,) = await _fetch(connection, "readers.log_exists")
        readers = [r.name for r in (await state(connection)).readers] if log["exists"] else []
        if consumer not in readers:
            names = ", ".join(readers) or "none"
            raise UnknownName(f"the change log has no reader {consumer!r}; its readers: {names}")
        (row,) = await _fetch(connection, "readers.is_free", consumer=consumer)
        if not row["is_free"]:
            raise InvalidInput(f"reader {consumer!r} is active: stop it before forgetting it")
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

    Attachments of an earlier version, which have no org, count if their dataset is in `legacy`, or
    if `legacy` is None.
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
    """The datasets of tables that were attached by an earlier version."""
    rows = await _fetch(connection, "readers.datasets", org=None)
    return [row["dataset"] for row in rows if not row["is_own"]]


async def announce_again(connection: AsyncConnection[Any], org: str) -> None:
    """Record all tables of an org as unannounced."""
    await connection.execute(statement("readers.unannounce"), {"org": org})


async def widened(connection: AsyncConnection[Any], consumer: str) -> dict[str, str]:
    """The state of each drifted attachment for which a reader has marked the dataset as changed."""
    rows = await _fetch(connection, "readers.widened", consumer=consumer)
    return msgspec.json.decode((rows[0]["widened"] if rows else None) or "{}", type=dict[str, str])


async def set_widened(
    connection: AsyncConnection[Any], consumer: str, drift: Mapping[str, str]
) -> None:
    """Record the drifted attachments for which a reader has marked the dataset as changed."""
    text = msgspec.json.encode(drift).decode()
    await connection.execute(
        statement("readers.set_widened"), {"consumer": consumer, "widened": text}
    )


async def _fetch(connection: AsyncConnection[Any], name: str, **parameters: Any) -> _Rows:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement(name), parameters)
    return await cursor.fetchall()
