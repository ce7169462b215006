"""Names of dataset tables, as written in DAG files."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.model.identifiers import fold, stored, truncate, unquote

DEFAULT_SCHEMA = "public"
_OWN_SCHEMAS = {"knockon", "knockon_source", "information_schema"}
_PART = r'("(?:[^"]|"")+"|[^".]+)'
_QUALIFIED = re.compile(rf"(?:{_PART}\.)?{_PART}")
_SPACE = " \t\n\r\f\v"
# A part without quotes begins and ends with no space, or each space could belong to any of three.
_SQL_PART = r'\s*("(?:[^"]|"")+"|[^".\s](?:[^".]*[^".\s])?)\s*'
_SQL = re.compile(rf"(?:(?:{_SQL_PART}\.)?{_SQL_PART}\.)?{_SQL_PART}", re.ASCII)


class TableName(NamedTuple):
    """The name of a table as stored in the database; ``schema`` is None if unqualified."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def parts(self) -> tuple[str, str]:
        """The parts of a qualified SQL identifier; the default schema is `public`."""
        return self.schema or DEFAULT_SCHEMA, self.name

    @property
    def qualified(self) -> "TableName":
        """The name qualified with its schema."""
        return TableName(*self.parts)

    @property
    def is_reserved(self) -> bool:
        """True for tables in a schema of Knockon or of PostgreSQL itself."""
        schema = self.schema or ""
        return schema in _OWN_SCHEMAS or schema.startswith("pg_")


def keeps_table(storage: Mapping[str, Any]) -> bool:
    """Return whether a dataset with this storage is a table, under its own or another name."""
    return "table" in storage or not storage.keys() - {"adopt"}


def table_text(storage: Mapping[str, Any], dataset: str) -> str:
    """Return the table name written in a dataset's storage, by default the dataset's name."""
    return str(storage.get("table") or dataset)


def table_name(text: str) -> TableName:
    """Parse ``storage.table``: the name is taken literally, except for quotes around a part."""
    match = _QUALIFIED.fullmatch(text)
    if match is None:
        schema, _, name = text.rpartition(".")
        return TableName(schema or None, name)
    schema, name = match.groups()
    return TableName(unquote(schema) if schema else None, unquote(name))


def sql_name(text: str) -> TableName:
    """Parse a table name by SQL's rules: parts without quotes are folded to lower case.

    The name of the database may precede the schema.
    """
    match = _SQL.fullmatch(text)
    if match is None:
        return table_name(fold(text.strip(_SPACE)))
    _, schema, name = match.groups()
    return TableName(stored(schema) if schema else None, stored(name))


def meanings(storage: Mapping[str, Any], dataset: str) -> set[TableName]:
    """Return the possible tables of a dataset's storage, from the view of a reader of the file.

    A name without quotes is used as written, but SQL would fold it: both tables are returned, so
    that ``Orders`` does not count as a table distinct from ``orders``. Quotes remove the ambiguity.
    """
    text = table_text(storage, dataset)
    found = {table_name(text)}
    return found | {sql_name(text)} if "table" in storage else found


def bare_name(text: str) -> str:
    """Return the last part of a table's name in any spelling, for a rough comparison.

    Must match the SQL in `tables.claims`.
    """
    return truncate(fold(text.rpartition(".")[2].replace('"', "").strip(_SPACE)))
