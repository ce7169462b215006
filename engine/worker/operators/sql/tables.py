"""Tables as the database knows them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from engine.errors import InvalidInput, TaskFailed
from engine.model.dataset import Dataset
from engine.store.database import Connection
from engine.store.run import fetch
from engine.worker.context import table_of

_LONGEST_NAME = 63
"""Postgres would cut a longer one, and two names might become the same."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view; ``columns`` holds the type of each, in order."""

    schema: str
    name: str
    columns: Mapping[str, str]
    comment: str | None = None

    @property
    def identifier(self) -> sql.Identifier:
        """Its name with its schema, which no other name can hide."""
        return sql.Identifier(self.schema, self.name)

    def type_of(self, column: str) -> str:
        """A column's type as text. Raises TaskFailed for one that it lacks."""
        if column not in self.columns:
            raise TaskFailed(
                f"table {self.schema}.{self.name} has no column {column!r}, by which it is "
                "partitioned: name the right one as the dimension's `column`"
            )
        return self.columns[column]


def physical_name(dataset: Dataset) -> tuple[str, ...]:
    """The table's name, behind its schema where there is one. Raises InvalidInput."""
    text = table_of(dataset)
    schema, _, name = text.rpartition(".")
    parts = (schema, name) if schema else (name,)
    if not name or "\0" in text or any(len(each.encode()) > _LONGEST_NAME for each in parts):
        raise InvalidInput(
            f"{text!r} cannot be the table of dataset {dataset.name!r}: "
            f"set storage.table to schema.name, each of at most {_LONGEST_NAME} bytes"
        )
    return parts


async def describe(
    conn: Connection, names: Iterable[tuple[str, ...]]
) -> dict[tuple[str, ...], Table]:
    """The tables of these names, without those that there are not."""
    quoted = {sql.Identifier(*name).as_string(conn): name for name in names}
    rows = await fetch(conn, "tables.describe", names=list(quoted))
    return {
        quoted[row["name"]]: Table(
            row["schema"],
            row["table"],
            dict(zip(row["columns"], row["types"], strict=True)),
            row["comment"],
        )
        for row in rows
    }
