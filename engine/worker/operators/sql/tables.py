"""Descriptions of tables, read from the catalog."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from engine.errors import InvalidInput, TaskFailed
from engine.flow.execution.write_permission import Relation
from engine.model.dataset import Dataset
from engine.model.table_mark import TableMark
from engine.model.tables import table_name
from engine.store.database import Connection
from engine.store.rows.tables import DescribedTable
from engine.store.run import fetch
from engine.worker.context import table_of

_LONGEST_NAME = 63
"""PostgreSQL truncates longer names, which could make two names equal."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view; ``columns`` maps names to types, in order.

    ``kind`` is the ``relkind`` of ``pg_class``; for ``has_relatives`` and ``rule`` see `Relation`.
    """

    schema: str
    name: str
    columns: Mapping[str, str]
    comment: str | None = None
    kind: str = "r"
    has_relatives: bool = False
    rule: str | None = None

    @property
    def identifier(self) -> sql.Identifier:
        """Name qualified with the schema."""
        return sql.Identifier(self.schema, self.name)

    @property
    def relation(self) -> Relation:
        """The table as a `Relation`, for checks of write permission."""
        return Relation(
            self.schema, self.name, self.kind, self.comment, self.has_relatives, self.rule
        )

    @property
    def signature(self) -> str:
        """Text of the columns and types: rows of other types are other contents to a reader."""
        return " ".join(f"{column} {kind}" for column, kind in self.columns.items())

    @property
    def retyped(self) -> frozenset[str]:
        """Columns that Knockon has converted to another type since the table was created."""
        mark = TableMark.read(self.comment)
        numbered = enumerate(self.columns, start=1)
        return frozenset(name for number, name in numbered if mark and number in mark.retyped)

    def type_of(self, column: str) -> str:
        """Return a column's type as text. Raises TaskFailed for an unknown column."""
        if column not in self.columns:
            raise TaskFailed(
                f"table {self.schema}.{self.name} has no partition column {column!r}: correct "
                "the dimension's `column`, or add the column"
            )
        return self.columns[column]


def physical_name(dataset: Dataset) -> tuple[str, str]:
    """Return the table's schema, by default `public`, and name. Raises InvalidInput."""
    text = table_of(dataset)
    parts = table_name(text).parts
    if not parts[-1] or "\0" in text or any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise InvalidInput(
            f"{text!r} cannot be the table of dataset {dataset.name!r}: "
            f"set storage.table to schema.name, each of at most {_LONGEST_NAME} bytes"
        )
    return parts


async def describe(
    conn: Connection, names: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Table]:
    """Return the existing tables among these names."""
    quoted = {sql.Identifier(*name).as_string(conn): name for name in names}
    rows = await fetch(conn, "tables.describe", DescribedTable, names=list(quoted))
    return {
        quoted[row.name]: Table(
            row.schema,
            row.table,
            dict(zip(row.columns, row.types, strict=True)),
            row.comment,
            row.kind,
            row.has_relatives,
            row.rule,
        )
        for row in rows
    }
