"""The SQL of the triggers that log one table's changes as those of one dataset.

No SQL is composed from plain text: names and values are psycopg's identifiers and literals, and a
function's body is one literal in its definition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from consumers.postgres.catalog import Relation, Table
from consumers.postgres.keys import KeyColumn
from consumers.postgres.statements import statement

MAX_KEYS = 1_000
"""Maximum of distinct keys per statement; a statement with more is logged as one range."""
MAX_KEYS_ANNOUNCED = 1_000_000
"""The maximum for announced tables and for sparse keys, which are logged exactly."""
SPARSE_FACTOR = 100
"""Keys are sparse if their common range covers more than this multiple of their number."""
MAX_COLUMNS_PAIRED = 800
"""Maximum of columns for pairing rows by column: a joined row has at most 1,664 columns."""

_TRANSITIONS: MappingProxyType[str, SQL] = MappingProxyType(
    {
        "insert": SQL("REFERENCING NEW TABLE AS new_rows"),
        "update": SQL("REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows"),
        "delete": SQL("REFERENCING OLD TABLE AS old_rows"),
        "truncate": SQL(""),
    }
)
KINDS = tuple(_TRANSITIONS)


@dataclass(frozen=True)
class Tenant:
    """The id of an org that captures changes, and the name of its consumer."""

    org: str
    consumer: str


def trigger_names(org: str | None, dataset: str) -> dict[str, str]:
    """The names of a dataset's triggers, the same on every table, by kind of change.

    Without an org, the names are those of an earlier version.
    """
    key = dataset if org is None else f"{org} {dataset}"
    stem = f"knockon_{sha256(key.encode()).hexdigest()[:12]}"
    return {kind: f"{stem}_{kind}" for kind in KINDS}


def function_names(org: str | None, dataset: str, relation: int) -> list[str]:
    """The names of the functions that log a relation as a dataset."""
    return [f"{name}_{relation}" for name in trigger_names(org, dataset).values()]


@dataclass(frozen=True)
class Attachment:
    """A table whose changes are logged as changes of an org's dataset.

    `keys` are the dimensions' names and columns, in the dataset's order.
    """

    org: str
    table: Table
    dataset: str
    keys: tuple[tuple[str, KeyColumn], ...]

    def function(self, kind: str, connection: AsyncConnection[Any], me: str) -> Composed:
        """The statements that create, or replace, the trigger function for one kind of change."""
        return statement("attach.function").format(
            function=self._function(kind),
            body=Literal(self._body(kind).as_string(connection)),
            me=Identifier(me),
        )

    def trigger(self, kind: str, relation: Relation) -> Composed:
        """The statements that create the trigger for one kind of change on the table or a part."""
        return statement("attach.trigger").format(
            function=self._function(kind),
            trigger=Identifier(trigger_names(self.org, self.dataset)[kind]),
            event=SQL(kind.upper()),
            table=relation.identifier,
            referencing=_TRANSITIONS[kind],
        )

    def announcement(self, relation: Relation) -> Composed:
        """The query for log rows with all partitions of the rows in the table or a part of it."""
        return self._log("insert", self._rows(relation.identifier), MAX_KEYS_ANNOUNCED, SQL(""))

    @property
    def function_names(self) -> list[str]:
        """The names of the trigger functions."""
        return function_names(self.org, self.dataset, self.table.oid)

    @property
    def key_columns(self) -> list[str]:
        """The columns of the dimensions, without duplicates."""
        return list(dict.fromkeys(column.name for _, column in self.keys if column.name))

    def _function(self, kind: str) -> Identifier:
        name = trigger_names(self.org, self.dataset)[kind]
        return Identifier("knockon_source", f"{name}_{self.table.oid}")

    def _body(self, kind: str) -> Composed:
        return statement("attach.body").format(
            types=self._types(kind), log=self._log_of(kind), **self._labels(kind)
        )

    def _types(self, kind: str) -> Composable:
        """The check that columns still have the domains that the expressions were generated for."""
        columns = [] if kind == "truncate" else map(self.table.column, self.key_columns)
        names = [column.name for column in columns if column.is_domain]
        if not names:
            return SQL("")
        types = [
            statement("attach.type").format(
                column=Literal(name), type=Literal(self.table.column(name).type_oid)
            )
            for name in names
        ]
        check = statement("attach.types").format(
            types=SQL(" OR ").join(types), count=Literal(len(names))
        )
        return check + SQL(";")

    def _log_of(self, kind: str) -> Composed:
        match kind:
            case "insert":
                return self._log(kind, self._rows(SQL("new_rows")))
            case "delete":
                return self._log(kind, self._rows(SQL("old_rows")))
            case "update":
                return self._log(kind, self._pairs())
        return statement("attach.truncated").format(**self._labels(kind))

    def _labels(self, kind: str) -> dict[str, Composable]:
        """The constant columns of the log rows."""
        return {
            "org": SQL("{}::pg_catalog.uuid").format(Literal(self.org)),
            "source": Literal(f"{self.table.schema}.{self.table.name}"),
            "dataset": Literal(self.dataset),
            "kind": Literal(kind),
        }

    def _log(
        self,
        kind: str,
        changed: Composed,
        max_keys: int = MAX_KEYS,
        into: SQL | None = None,
    ) -> Composed:
        columns = [(column, Identifier(f"b{i}")) for i, (_, column) in enumerate(self.keys)]
        return statement("attach.log").format(
            into=statement("attach.into") if into is None else into,
            changed=changed,
            valid_buckets=_listed(_named(column.valid_bucket(b), b) for column, b in columns),
            key=self._text(SQL("coalesce({}, '*')").format(column.key(b)) for column, b in columns),
            hull=self._text(_hull(column, b) for column, b in columns),
            covered=SQL(" * ").join(column.extent(b) for column, b in columns),
            sparse=Literal(SPARSE_FACTOR),
            limit=Literal(max_keys),
            most=Literal(MAX_KEYS_ANNOUNCED),
            **self._labels(kind),
        )

    def _rows(self, rows: Composable) -> Composed:
        return statement("attach.rows").format(
            rows=rows, buckets=_listed(self._buckets("r", "b")), names=self._names("b")
        )

    def _pairs(self) -> Composed:
        key = self.table.primary_key
        if not key or len(self.table.columns) > MAX_COLUMNS_PAIRED:
            return self._images(key)
        stored = [column.name for column in self.table.columns if not column.is_virtual]
        virtual = [column.name for column in self.table.columns if column.is_virtual]
        differences = map(_difference, range(len(stored)), stored)
        return statement("attach.pairs").format(
            names=self._names("b"),
            old_names=self._names("o"),
            new_names=self._names("n"),
            sides=_listed([*self._buckets("o", "o"), *self._buckets("n", "n"), *differences]),
            was=SQL("{} IS NOT NULL").format(Identifier("o", key[0])),
            stays=SQL("{} IS NOT NULL").format(Identifier("n", key[0])),
            flags=_listed(map(_flag, range(len(stored)), stored)),
            virtual=Literal(virtual),
            width=Literal(self.table.width),
            pairing=statement("attach.paired_by_key").format(
                same_key=SQL(" AND ").join(
                    SQL("{} = {}").format(self._value("o", c), self._value("n", c)) for c in key
                )
            ),
        )

    def _images(self, key: list[str]) -> Composed:
        old_buckets = _listed(self._buckets("r", "o"))
        new_buckets = _listed(self._buckets("r", "n"))
        pairing = statement("attach.images_by_text").format(
            old_buckets=old_buckets, new_buckets=new_buckets
        )
        if key:
            names = [f"k{i}" for i in range(len(key))]
            named = (
                _named(self._value("r", c), Identifier(k)) for c, k in zip(key, names, strict=True)
            )
            pairing = statement("attach.images_by_key").format(
                old_buckets=old_buckets,
                new_buckets=new_buckets,
                key=_listed(named),
                same_key=SQL(" AND ").join(
                    SQL("{} = {}").format(Identifier("o", k), Identifier("n", k)) for k in names
                ),
            )
        return statement("attach.images").format(
            names=self._names("b"),
            old_names=self._names("o"),
            new_names=self._names("n"),
            pairing=pairing,
        )

    def _buckets(self, row: str, prefix: str) -> list[Composed]:
        return [
            _named(column.bucket(self._value(row, column.name)), Identifier(f"{prefix}{i}"))
            for i, (_, column) in enumerate(self.keys)
        ]

    def _value(self, row: str, name: str) -> Composable:
        """A column of a row, with a check of its type at the time the table was attached."""
        value = Identifier(row, name)
        if not name or not (column := self.table.column(name)).is_exact:
            return value
        return statement("attach.typed").format(value=value, type=SQL(column.type))

    def _names(self, prefix: str) -> Composed:
        return _listed(Identifier(f"{prefix}{i}") for i in range(len(self.keys)))

    def _text(self, parts: Iterable[Composable]) -> Composed:
        """The text of a key: plain for one dimension, in Hive style for several."""
        if len(self.keys) == 1:
            return Composed(list(parts))
        names = [Literal(f"{name}=") for name, _ in self.keys]
        pieces = [SQL("{} || {}").format(*pair) for pair in zip(names, parts, strict=True)]
        return SQL(" || '/' || ").join(pieces)


def _listed(parts: Iterable[Composable]) -> Composed:
    return SQL(", ").join(parts)


def _named(value: Composable, name: Identifier) -> Composed:
    return SQL("{} AS {}").format(value, name)


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
