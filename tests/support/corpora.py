"""Families of SQL over shared tables in `tests/support/sqlcorpus`, and the flights example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from engine.lineage.columns import ColumnMap, column_map
from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledDag
from engine.lineage.sql import Relation, derive
from engine.model.dagfile import parse_dag

_HERE = Path(__file__).parent / "sqlcorpus"
_FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"
SCHEMA = "corpus"

Tables = Mapping[str, Mapping[str, str]]
"""By table, the type of each column."""


@dataclass(frozen=True)
class Query:
    """A SELECT; ``maps`` has, by table, the predicted outputs of each column, None if unknown."""

    name: str
    text: str
    columns: tuple[str, ...] | None
    maps: Mapping[str, ColumnMap | None] = field(repr=False)
    note: str | None = None


@dataclass(frozen=True)
class Corpus:
    tables: Tables
    queries: tuple[Query, ...]


def load(conn: psycopg.Connection, name: str) -> Corpus:
    """Create a corpus's empty tables and derive the lineage of its queries."""
    conn.execute(f"CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA}")
    return _flights(conn) if name == "flights" else _files(conn, _HERE / name)


def create(conn: psycopg.Connection, tables: Tables) -> None:
    """Create empty tables."""
    for table, columns in tables.items():
        listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        conn.execute(f"CREATE TABLE {table} ({listed})".encode())


def columns_of(conn: psycopg.Connection, text: str) -> tuple[str, ...]:
    """The columns of a SELECT's result; none if the query is invalid."""
    try:
        cursor = conn.execute(text.encode())
    except psycopg.ProgrammingError:
        return ()
    return tuple(each.name for each in cursor.description or ())


def _files(conn: psycopg.Connection, folder: Path) -> Corpus:
    conn.execute((folder / "schema.sql").read_text().encode())
    tables = _tables(conn)
    files = sorted(set(folder.glob("*.sql")) - {folder / "schema.sql"})
    return Corpus(tables, tuple(query(file.stem, file.read_text(), tables) for file in files))


def query(name: str, text: str, tables: Tables) -> Query:
    """A SELECT with its derived lineage."""
    inputs = {table: Relation.of_input(table, columns) for table, columns in tables.items()}
    found = derive(text, inputs, {})
    maps: dict[str, ColumnMap | None] = dict.fromkeys(found.named or tables)
    for table in maps if found.lineage is not None else ():
        maps[table] = column_map(
            (output, read.column)
            for output, reads in (found.lineage or {}).items()
            for read in reads
            if read.alias == table
        )
    return Query(name, text, found.columns, maps, found.note)


def _flights(conn: psycopg.Connection) -> Corpus:
    """The jobs of the example over tables with their input types, with the deployed lineage."""
    dag = compile_dag(parse_dag((_FLIGHTS / "flights.yaml").read_text(), where="flights.yaml"), {})
    sources = (_FLIGHTS / "sources.sql").read_text().replace("nyc", SCHEMA)
    conn.execute(sources.replace("NOT NULL", "").encode())
    for job in dag.jobs:
        for statement in _made_by(job.config.get("sql"), job.outputs[0], dag):
            conn.execute(statement)
    queries = [_deployed(dag, job.outputs[0], job.config["sql"]) for job in dag.jobs if job.config]
    return Corpus(_tables(conn), tuple(queries))


def _made_by(text: str | None, dataset: str, dag: CompiledDag) -> Iterator[sql.Composable]:
    """A table as created by the sql operator: the SELECT's columns and the partition's columns."""
    if text is None:
        return
    table = sql.Identifier(dataset)
    yield sql.SQL("CREATE TABLE {} AS {} LIMIT 0").format(table, sql.SQL(text))
    (columns,) = (each.columns for each in dag.datasets if each.name == dataset)
    for column in columns or ():
        kind = sql.SQL("text" if column == "origin" else "date")
        yield sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
            table, sql.Identifier(column), kind
        )


def _deployed(dag: CompiledDag, dataset: str, text: str) -> Query:
    rows = [each for each in dag.columns if each.output_dataset == dataset]
    inputs = {each.input_dataset for each in rows}
    maps = {
        name: column_map((r.output_column, r.input_column) for r in rows if r.input_dataset == name)
        for name in inputs
    }
    return Query(dataset, text, None, maps)


def _tables(conn: psycopg.Connection) -> Tables:
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in conn.execute(
        "SELECT relname, attname, format_type(atttypid, NULL) FROM pg_attribute "
        "JOIN pg_class c ON c.oid = attrelid "
        "WHERE relnamespace = current_schema::regnamespace AND relkind = 'r' AND attnum > 0 "
        "ORDER BY relname, attnum"
    ):
        found.setdefault(table, {})[column] = kind
    return found
