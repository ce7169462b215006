"""What the source database says of a table that is to be attached."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.sql import Identifier

from consumers.postgres.statements import statement
from engine.errors import InvalidInput, UnknownName


@dataclass(frozen=True)
class Column:
    """A column; see `sql/triggers/catalog.sql`."""

    name: str
    type: str
    is_virtual: bool
    is_key: bool
    has_equality: bool


@dataclass(frozen=True)
class Table:
    """A table with its columns; `width` counts those that were dropped, too."""

    oid: int
    schema: str
    name: str
    width: int
    columns: tuple[Column, ...]

    @property
    def identifier(self) -> Identifier:
        """The quoted name."""
        return Identifier(self.schema, self.name)

    @property
    def primary_key(self) -> list[str]:
        """The columns that tell rows apart; empty where there are none that `=` is sure to work on.

        The trigger functions see no schema but pg_catalog, and so no operator of an extension.
        """
        key = [column for column in self.columns if column.is_key]
        return [c.name for c in key] if all(c.has_equality for c in key) else []

    def column(self, name: str) -> Column:
        """The column of a name. Raises UnknownName."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise UnknownName(f"table {self.schema}.{self.name} has no column {name!r}; it has {known}")


async def read_table(connection: AsyncConnection[Any], table: str) -> Table:
    """Look up a table by its name as SQL writes it: `flights`, `public.flights`, `"My Table"`.

    Raises:
        UnknownName: there is none.
        InvalidInput: it is no table, or no name.
    """
    relation = await _relation(connection, table)
    if relation is None:
        raise UnknownName(
            f"the source has no table {table}; write it as SQL does, with its schema and quotes"
        )
    if not relation.pop("is_table"):
        raise InvalidInput(f"{table} is no ordinary table and has no changes; attach what it reads")
    cursor = connection.cursor(row_factory=class_row(Column))
    await cursor.execute(statement("catalog.columns"), {"oid": relation["oid"]})
    return Table(**relation, columns=tuple(await cursor.fetchall()))


async def _relation(connection: AsyncConnection[Any], table: str) -> dict[str, Any] | None:
    cursor = connection.cursor(row_factory=dict_row)
    try:
        await cursor.execute(statement("catalog.relation"), {"table": table})
    except (psycopg.DataError, psycopg.ProgrammingError) as error:
        raise InvalidInput(
            f"{table!r} is no table's name: {error}; write it as SQL does"
        ) from error
    return await cursor.fetchone()
