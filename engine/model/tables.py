"""Names of the tables that hold datasets, as DAG files write them."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.model.identifiers import fold, stored, truncate, unquote

DEFAULT_SCHEMA = "public"
_OWN_SCHEMAS = {"knockon", "knockon_source", "information_schema"}
_PART = r'("(?:[^"]|"")+"|[^".]+)'
_QUALIFIED = re.compile(rf"(?:{_PART}\.)?{_PART}")
_SPACE = " \t\n\r\f\v"
_SQL_PART = r'\s*("(?:[^"]|"")+"|[^".]+?)\s*'
_SQL = re.compile(rf"(?:(?:{_SQL_PART}\.)?{_SQL_PART}\.)?{_SQL_PART}", re.ASCII)


class TableName(NamedTuple):
    """A table in the database's own spelling; ``schema`` is None where none is written."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def parts(self) -> tuple[str, str]:
        """The parts of a qualified SQL identifier; a name alone is one in `public`."""
        return self.schema or DEFAULT_SCHEMA, self.name

    @property
    def qualified(self) -> "TableName":
        """The same name with its schema."""
        return TableName(*self.parts)

    @property
    def is_reserved(self) -> bool:
        """Whether it is in a schema of Knockon or of PostgreSQL itself."""
        schema = self.schema or ""
        return schema in _OWN_SCHEMAS or schema.startswith("pg_")


def keeps_table(storage: Mapping[str, Any]) -> bool:
    """Whether a dataset of this storage is a table, by its own name or by another."""
    return "table" in storage or not storage.keys() - {"adopt"}


def table_text(storage: Mapping[str, Any], dataset: str) -> str:
    """The table of a dataset as its storage writes it; by default it has the dataset's name."""
    return str(storage.get("table") or dataset)


def table_name(text: str) -> TableName:
    """The table that ``storage.table`` means: as it is written, but for quotes around a part."""
    match = _QUALIFIED.fullmatch(text)
    if match is None:
        schema, _, name = text.rpartition(".")
        return TableName(schema or None, name)
    schema, name = match.groups()
    return TableName(unquote(schema) if schema else None, unquote(name))


def sql_name(text: str) -> TableName:
    """The table that SQL means by the text: parts without quotes are folded to lower case.

    The name of the database may come before the schema.
    """
    match = _SQL.fullmatch(text)
    if match is None:
        return table_name(fold(text.strip(_SPACE)))
    _, schema, name = match.groups()
    return TableName(stored(schema) if schema else None, stored(name))


def meanings(storage: Mapping[str, Any], dataset: str) -> set[TableName]:
    """The tables that a reader of the DAG file may take a dataset's storage to mean.

    A name without quotes is used as it is written, but SQL would fold it: both are meant, so that
    ``Orders`` is not taken for a table apart from ``orders``. Quotes decide it.
    """
    text = table_text(storage, dataset)
    found = {table_name(text)}
    return found | {sql_name(text)} if "table" in storage else found


def bare_name(text: str) -> str:
    """The last part of any spelling of a table's name, for a first, rough comparison.

    `tables.claims` does the same.
    """
    return truncate(fold(text.rpartition(".")[2].replace('"', "").strip(_SPACE)))
