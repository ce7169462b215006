"""The SQL of the triggers that log one table's changes as those of one dataset.

Nothing here is put together as plain text: names and values are psycopg's identifiers and
literals, and a function's body goes into its definition as one literal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from consumers.postgres.catalog import Table
from consumers.postgres.keys import KeyColumn
from consumers.postgres.statements import statement

MOST_KEYS = 1_000
"""Distinct keys in one log row; a statement that changes more is logged as one range."""
MOST_KEYS_ANNOUNCED = 1_000_000
"""The same for what a table holds when it is announced, and for sparse keys: both are exact."""
SPARSE_FACTOR = 100
"""Keys are sparse where one range around them covers more than so many times their number."""

_TRANSITIONS: MappingProxyType[str, SQL] = MappingProxyType(
    {
        "insert": SQL("REFERENCING NEW TABLE AS new_rows"),
        "update": SQL("REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        "delete": SQL("REFERENCING OLD TABLE AS old_rows"),
        "truncate": SQL(""),
    }
)
KINDS = tuple(_TRANSITIONS)


def trigger_name(dataset: str, kind: str) -> str:
    """The name of a dataset's trigger, on any table, for one kind of change."""
    return f"knockon_{sha256(dataset.encode()).hexdigest()[:12]}_{kind}"


@dataclass(frozen=True)
class Attachment:
    """A table whose changes are those of a dataset.

    `keys` has the name of each dimension with the column that holds it, in the dataset's order.
    """

    table: Table
    dataset: str
    keys: tuple[tuple[str, KeyColumn], ...]

    def trigger(self, kind: str, connection: AsyncConnection[Any]) -> Composed:
        """The statements that make, or make anew, the trigger for one kind of change."""
        name = trigger_name(self.dataset, kind)
        return statement("attach.trigger").format(
            function=Identifier("knockon_source", f"{name}_{self.table.oid}"),
            trigger=Identifier(name),
            event=SQL(kind.upper()),
            table=self.table.identifier,
            referencing=_TRANSITIONS[kind],
            body=Literal(self._body(kind).as_string(connection)),
            dataset=Literal(self.dataset),
        )

    def announcement(self) -> Composed:
        """The statement that logs all partitions that the table holds."""
        return self._log("insert", self._rows(self.table.identifier), MOST_KEYS_ANNOUNCED)

    def _body(self, kind: str) -> Composed:
        return statement("attach.body").format(log=self._log_of(kind), **self._what(kind))

    def _log_of(self, kind: str) -> Composed:
        match kind:
            case "insert":
                return self._log(kind, self._rows(SQL("new_rows")))
            case "delete":
                return self._log(kind, self._rows(SQL("old_rows")))
            case "update":
                return self._log(kind, self._pairs())
        return statement("attach.truncated").format(**self._what(kind))

    def _what(self, kind: str) -> dict[str, Literal]:
        return {
            "source": Literal(f"{self.table.schema}.{self.table.name}"),
            "dataset": Literal(self.dataset),
            "kind": Literal(kind),
        }

    def _log(self, kind: str, changed: Composed, most_keys: int = MOST_KEYS) -> Composed:
        columns = [(column, Identifier(f"b{i}")) for i, (_, column) in enumerate(self.keys)]
        return statement("attach.log").format(
            changed=changed,
            places=_listed(_named(column.place(b), b) for column, b in columns),
            key=self._text(_or_all(column.key(b)) for column, b in columns),
            hull=self._text(_hull(column, b) for column, b in columns),
            covered=SQL(" * ").join(column.extent(b) for column, b in columns),
            sparse=Literal(SPARSE_FACTOR),
            limit=Literal(most_keys),
            most=Literal(MOST_KEYS_ANNOUNCED),
            **self._what(kind),
        )

    def _rows(self, rows: Composable) -> Composed:
        return statement("attach.rows").format(
            rows=rows, buckets=_listed(self._buckets("r", "b")), names=self._names("b")
        )

    def _pairs(self) -> Composed:
        stored = [column.name for column in self.table.columns if not column.is_virtual]
        virtual = [column.name for column in self.table.columns if column.is_virtual]
        differences = map(_difference, range(len(stored)), stored)
        pairing, mark = self._pairing()
        return statement("attach.pairs").format(
            names=self._names("b"),
            old_names=self._names("o"),
            new_names=self._names("n"),
            sides=_listed([*self._buckets("o", "o"), *self._buckets("n", "n"), *differences]),
            was=SQL("{} IS NOT NULL").format(Identifier("o", mark)),
            stays=SQL("{} IS NOT NULL").format(Identifier("n", mark)),
            flags=_listed(map(_flag, range(len(stored)), stored)),
            virtual=Literal(virtual),
            width=Literal(self.table.width),
            pairing=pairing,
        )

    def _pairing(self) -> tuple[Composable, str]:
        """How old rows find new ones, and a column that no row has null."""
        key = self.table.primary_key
        if not key:
            return statement("attach.paired_by_image"), "knockon_image"
        same = [SQL("{} = {}").format(Identifier("o", c), Identifier("n", c)) for c in key]
        return statement("attach.paired_by_key").format(same_key=SQL(" AND ").join(same)), key[0]

    def _buckets(self, row: str, prefix: str) -> list[Composed]:
        return [
            _named(column.of(row), Identifier(f"{prefix}{i}"))
            for i, (_, column) in enumerate(self.keys)
        ]

    def _names(self, prefix: str) -> Composed:
        return _listed(Identifier(f"{prefix}{i}") for i in range(len(self.keys)))

    def _text(self, parts: Iterable[Composable]) -> Composed:
        """One key's text from its parts: plain for one dimension, Hive style for several."""
        if len(self.keys) == 1:
            return Composed(list(parts))
        names = [Literal(f"{name}=") for name, _ in self.keys]
        pieces = [SQL("{} || {}").format(*pair) for pair in zip(names, parts, strict=True)]
        return SQL(" || '/' || ").join(pieces)


def _listed(parts: Iterable[Composable]) -> Composed:
    return SQL(", ").join(parts)


def _named(value: Composable, name: Identifier) -> Composed:
    return SQL("{} AS {}").format(value, name)


def _or_all(key: Composable) -> Composed:
    return SQL("coalesce({}, '*')").format(key)


def _hull(column: KeyColumn, bucket: Identifier) -> Composed:
    return SQL("CASE WHEN count({}) < count(*) THEN '*' ELSE {} END").format(
        bucket, column.hull(bucket)
    )


def _difference(i: int, column: str) -> Composed:
    return SQL("ROW({})::record *<> ROW({})::record AS {}").format(
        Identifier("o", column), Identifier("n", column), Identifier(f"d{i}")
    )


def _flag(i: int, column: str) -> Composed:
    return SQL("CASE WHEN bool_or({}) THEN {} END").format(Identifier(f"d{i}"), Literal(column))
