"""Reading a source's change log: every change once, without waiting for anybody.

Log ids are given out before they are committed, so "after id 7" would miss a 6 that commits late.
What a reader has seen is a snapshot instead (PostgreSQL's `pg_snapshot`): it reads what is visible
now and was not then. A long transaction holds nothing up; its changes come when it commits.
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
    """How far the log is read: all that `seen` shows, and in what `upto` adds, up to `after`.

    The snapshots are in PostgreSQL's text form, `xmin:xmax:xip,...`; `after` is the transaction
    and the id of the last change taken while more than a page was left. ``count`` is the number of
    pages taken, and ``last`` the transaction, id and time of the last change in them: they reveal
    whether Knockon's database or the source has gone back in time. ``mark`` is set only in the
    log's own record of a reader: see `readers`.
    """

    seen: str
    upto: str | None = None
    after: tuple[int, int] | None = None
    count: int = 0
    last: tuple[int, int, int] | None = None
    mark: Literal["forgotten", "missed"] | None = None

    @property
    def place(self) -> tuple[int, int]:
        """The (transaction, id) after which to read on."""
        return self.after or (int(self.seen.split(":")[0]), 0)

    def to_text(self) -> str:
        """The position as it is stored."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def from_text(text: str | None) -> "Position":
        """Read what `to_text` wrote; None is the start. Raises msgspec.DecodeError."""
        return msgspec.json.decode(text, type=Position) if text else START


START = Position(seen="1:1:")
TRIMMED_AT_ONCE = 10_000
"""Log rows; more than a page, so that trimming keeps up with reading."""


@dataclass(frozen=True)
class Page:
    """Changes in the log's order, as (log id, JSON text), and the position behind them."""

    changes: tuple[tuple[int, str], ...]
    position: Position

    @property
    def is_last(self) -> bool:
        """Whether there was nothing more to read then."""
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
    """Read at most `limit` changes of an org behind a position, in one round trip.

    Changes that an earlier version logged belong to no org: they are read if they are of one of
    `datasets`; None reads all of them.
    """
    xid, id_ = position.place
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
    """Whether the last change of a position is still in the log."""
    xid, id_, written = last
    rows = await _fetch(connection, "log.has", {"xid": str(xid), "id": id_, "written": written})
    return bool(rows[0]["is_there"])


async def settle(connection: AsyncConnection[Any], tenant: Tenant, position: Position) -> None:
    """Record a position that a reader has stored for good, and drop changes that all have read."""
    await register(connection, tenant, position)
    await trim(connection)


async def register(connection: AsyncConnection[Any], tenant: Tenant, position: Position) -> None:
    """Record a reader's position; the log is kept from there on."""
    where = {"consumer": tenant.consumer, "org": tenant.org, "position": position.to_text()}
    await connection.execute(statement("log.register"), where, prepare=True)


async def trim(connection: AsyncConnection[Any]) -> int:
    """Delete some of what every registered reader has seen; returns how many rows."""
    limit = {"limit": TRIMMED_AT_ONCE}
    return (await connection.execute(statement("log.trim"), limit, prepare=True)).rowcount


async def _fetch(
    connection: AsyncConnection[Any], name: str, parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement(name), parameters, prepare=True)
    return await cursor.fetchall()
