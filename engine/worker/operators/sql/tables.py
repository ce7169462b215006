"""Tables as the database knows them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from engine.errors import InvalidInput, TaskFailed
from engine.flow.output_tables import Relation
from engine.model.dataset import Dataset
from engine.model.tables import table_name
from engine.store.database import Connection
from engine.store.run import fetch
from engine.worker.context import table_of

_LONGEST_NAME = 63
"""Postgres would cut a longer one, and two names might become the same."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view; ``columns`` holds the type of each, in order.

    ``kind`` is that of ``pg_class``; ``has_relatives`` and ``rule`` are those of `Relation`.
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
        """Its name with its schema, which no other name can hide."""
        return sql.Identifier(self.schema, self.name)

    @property
    def relation(self) -> Relation:
        """The relation, to be asked whether it may be written."""
        return Relation(
            self.schema, self.name, self.kind, self.comment, self.has_relatives, self.rule
        )

    def type_of(self, column: str) -> str:
        """A column's type as text. Raises TaskFailed for one that it lacks."""
        if column not in self.columns:
            raise TaskFailed(
                f"table {self.schema}.{self.name} has no column {column!r}, by which it is "
                "partitioned: name the right one as the dimension's `column`"
            )
        return self.columns[column]


def physical_name(dataset: Dataset) -> tuple[str, str]:
    """The table's schema and name; a name alone is one in `public`. Raises InvalidInput."""
    text = table_of(dataset)
    parts = table_name(text).parts
    if not parts[-1] or "\0" in text or any(len(each.encode()) > _LONGEST_NAME for each in parts):
        raise InvalidInput(
            f"{text!r} cannot be the table of dataset {dataset.name!r}: "
            f"set storage.table to schema.name, each of at most {_LONGEST_NAME} bytes"
        )
    return parts


async def describe(
    conn: Connection, names: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Table]:
    """The tables of these names, without those that there are not."""
    quoted = {sql.Identifier(*name).as_string(conn): name for name in names}
    rows = await fetch(conn, "tables.describe", names=list(quoted))
    return {
        quoted[row["name"]]: Table(
            row["schema"],
            row["table"],
            dict(zip(row["columns"], row["types"], strict=True)),
            row["comment"],
            row["kind"],
            row["has_relatives"],
            row["rule"],
        )
        for row in rows
    }
