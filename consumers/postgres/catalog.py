"""Tables in the source's catalog."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.sql import Identifier

from consumers.postgres.statements import statement
from engine.errors import InvalidInput, UnknownName


@dataclass(frozen=True)
class Column:
    """A column; see `sql/triggers/catalog.sql`."""

    name: str
    type: str
    type_oid: int
    is_virtual: bool
    is_key: bool
    is_builtin: bool
    is_domain: bool

    @property
    def is_exact(self) -> bool:
        """Return whether the type is one of PostgreSQL itself."""
        return self.is_builtin and not self.is_domain


@dataclass(frozen=True)
class Relation:
    """A table or a part of one, by name."""

    oid: int
    schema: str
    name: str

    @property
    def identifier(self) -> Identifier:
        """The quoted name."""
        return Identifier(self.schema, self.name)


@dataclass(frozen=True)
class Table(Relation):
    """A table with its columns; `width` includes dropped columns.

    `parts` are its partitions and inheritance children. They need triggers of their own, because a
    statement on a part does not fire the triggers of the table.
    """

    width: int
    columns: tuple[Column, ...]
    parts: tuple[Relation, ...]

    @property
    def primary_key(self) -> list[str]:
        """The primary key; empty if PostgreSQL's own `=` may not apply to its types.

        Values of other types could require an extension's operator, which is not on the search path
        of the trigger functions, or a cast that the type's owner defined.
        """
        key = [column for column in self.columns if column.is_key]
        return [column.name for column in key] if all(column.is_exact for column in key) else []

    def column(self, name: str) -> Column:
        """The column with a name. Raises UnknownName."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise UnknownName(f"table {self.schema}.{self.name} has no column {name!r}; it has {known}")


async def resolve(connection: AsyncConnection[Any], table: str) -> int | None:
    """The oid of a table, named in SQL syntax: `flights`, `raw.flights`, `"My Table"`.

    Raises:
        InvalidInput: the name is not valid.
    """
    cursor = connection.cursor(row_factory=scalar_row)
    try:
        await cursor.execute(statement("catalog.resolve"), {"table": table})
    except (psycopg.DataError, psycopg.ProgrammingError) as error:
        raise InvalidInput(f"{table!r} is not a table name: {error}; write it as in SQL") from error
    return await cursor.fetchone()


async def read_table(connection: AsyncConnection[Any], table: str, oid: int | None) -> Table:
    """Read a table from the catalog; `oid` is the result of `resolve` for its name.

    Raises:
        UnknownName: the table does not exist.
        InvalidInput: the relation is not a table.
    """
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(statement("catalog.relation"), {"oid": oid})
    relation = await cursor.fetchone()
    if relation is None:
        raise UnknownName(
            f"the source has no table {table}; write the name as in SQL, with schema and quotes"
        )
    if not relation.pop("is_table"):
        raise InvalidInput(
            f"{table} is not an ordinary table, so its changes cannot be captured; attach the "
            "tables it reads"
        )
    columns = connection.cursor(row_factory=class_row(Column))
    await columns.execute(statement("catalog.columns"), {"oid": oid})
    return Table(
        **relation,
        columns=tuple(await columns.fetchall()),
        parts=await relations(connection, "catalog.parts", {"oid": oid}),
    )


async def relations(
    connection: AsyncConnection[Any], name: str, parameters: dict[str, Any]
) -> tuple[Relation, ...]:
    """The relations that a statement of `catalog.sql` selects."""
    cursor = connection.cursor(row_factory=class_row(Relation))
    await cursor.execute(statement(name), parameters)
    return tuple(await cursor.fetchall())
