"""Reading a source's change log: every change once, without waiting for open transactions.

Log ids are assigned before commit, so reading "after id 7" would miss a 6 that commits later.
Therefore a position is a snapshot (PostgreSQL's `pg_snapshot`), and a reader reads the rows that
have become visible since. A long transaction blocks nothing; its changes are read once it commits.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from consumers.postgres.statements import statement
from consumers.postgres.triggers import Tenant


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """The progress of a reader: all changes visible in `seen`, and those in `upto` up to `after`.

    The snapshots are in PostgreSQL's text form, `xmin:xmax:xip,...`. `after` is the transaction and
    the id of the last change read, set while more than a page remains. ``count`` is the number of
    pages read, and ``last`` the transaction, id and time of the last change in them; both reveal a
    restore of Knockon's database or of the source to an earlier time. ``mark`` is set only in the
    log's own record of a reader: see `readers`.
    """

    seen: str
    upto: str | None = None
    after: tuple[int, int] | None = None
    count: int = 0
    last: tuple[int, int, int] | None = None
    mark: Literal["forgotten", "missed"] | None = None

    @property
    def resume_after(self) -> tuple[int, int]:
        """The (transaction, id) after which reading continues."""
        return self.after or (int(self.seen.split(":")[0]), 0)

    def to_text(self) -> str:
        """Format the position for storage."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def from_text(text: str | None) -> "Position":
        """Parse a stored position; None is the start. Raises msgspec.DecodeError."""
        return msgspec.json.decode(text, type=Position) if text else START


START = Position(seen="1:1:")
TRIMMED_AT_ONCE = 10_000
"""Log rows deleted at once; more than a page, so that trimming keeps up with reading."""


@dataclass(frozen=True)
class Page:
    """Changes in log order, as (log id, JSON text), and the position after them."""

    changes: tuple[tuple[int, str], ...]
    position: Position

    @property
    def is_last(self) -> bool:
        """Return whether the log had no further changes."""
        return self.position.upto is None


async def stream_name(connection: AsyncConnection[Any]) -> str:
    """The log's own name, `postgres/<system identifier>/<timeline>/<database>`."""
    row = await _fetch(connection, "log.stream", {})
    return str(row[0]["stream"])


async def read_page(
    connection: AsyncConnection[Any],
    position: Position,
    org: str,
    datasets: Collection[str] | None,
    limit: int,
) -> Page:
    """Read at most `limit` changes of an org after a position, in one round trip.

    Changes that an earlier version logged have no org. They are read if they belong to one of
    `datasets`; None means all of them.
    """
    xid, id_ = position.resume_after
    rows = await _fetch(
        connection,
        "log.read",
        {
            "seen": position.seen,
            "upto": position.upto,
            "xid": str(xid),
            "id": id_,
            "org": org,
            "datasets": None if datasets is None else list(datasets),
            "limit": limit,
        },
    )
    upto, last = rows[0]["upto"], rows[-1]
    changes = tuple((row["id"], row["change"]) for row in rows if row["id"] is not None)
    count, latest = position.count, position.last
    if changes:
        count, latest = count + 1, (int(last["xid"]), last["id"], last["written"])
    if len(changes) < limit:
        return Page(changes, Position(upto, count=count, last=latest))
    after = (int(last["xid"]), last["id"])
    return Page(changes, Position(position.seen, upto, after, count, latest))


async def has_change(connection: AsyncConnection[Any], last: tuple[int, int, int]) -> bool:
    """Return whether the last change of a position is still in the log."""
    xid, id_, written = last
    rows = await _fetch(
        connection, "log.has_change", {"xid": str(xid), "id": id_, "written": written}
    )
    return bool(rows[0]["exists"])


async def acknowledge(connection: AsyncConnection[Any], tenant: Tenant, position: Position) -> None:
    """Record a position that Knockon has stored, and delete changes that all readers have read."""
    await register(connection, tenant, position)
    await trim(connection)


async def register(connection: AsyncConnection[Any], tenant: Tenant, position: Position) -> None:
    """Record a reader's position; the log keeps all later changes for it."""
    row = {"consumer": tenant.consumer, "org": tenant.org, "position": position.to_text()}
    await connection.execute(statement("log.register"), row, prepare=True)


async def trim(connection: AsyncConnection[Any]) -> int:
    """Delete a limited number of changes that all readers have read; returns the number."""
    limit = {"limit": TRIMMED_AT_ONCE}
    return (await connection.execute(statement("log.trim"), limit, prepare=True)).rowcount


async def _fetch(
    connection: AsyncConnection[Any], name: str, parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement(name), parameters, prepare=True)
    return await cursor.fetchall()
