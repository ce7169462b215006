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


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the log is read: all that `seen` shows, and in what `upto` adds, up to `after`.

    The snapshots are in PostgreSQL's text form, `xmin:xmax:xip,...`; `after` is the transaction
    and the id of the last change taken while more than a page was left. ``mark`` is set only in
    what the log knows of its readers: see `readers`.
    """

    seen: str
    upto: str | None = None
    after: tuple[int, int] | None = None
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
    datasets: Collection[str] | None,
    limit: int,
) -> Page:
    """Read at most `limit` changes behind a position, in one round trip.

    Changes of other datasets than `datasets` are passed over; None takes all.
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
            "datasets": None if datasets is None else list(datasets),
            "limit": limit,
        },
    )
    upto, last = rows[0]["upto"], rows[-1]
    changes = tuple((row["id"], row["change"]) for row in rows if row["id"] is not None)
    if len(changes) < limit:
        return Page(changes, Position(upto))
    return Page(changes, Position(position.seen, upto, (int(last["xid"]), last["id"])))


async def settle(connection: AsyncConnection[Any], consumer: str, position: Position) -> None:
    """Say that a reader has stored a position for good, and let go of what all have seen."""
    await register(connection, consumer, position)
    await trim(connection)


async def register(connection: AsyncConnection[Any], consumer: str, position: Position) -> None:
    """Say where a reader is; the log is kept from there on."""
    where = {"consumer": consumer, "position": position.to_text()}
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
