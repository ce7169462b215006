"""Check of derived column lineage against a database: change a column, compare results.

A changed column may only affect outputs that the lineage marks dirty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import psycopg
from psycopg import sql

from engine.lineage.columns import ALL_COLUMNS, PRUNED, DirtyColumns, Pruning, propagate_columns
from tests.support.corpora import Corpus, Query

_TEXTS = ["A", "B", "C", "AB", "BC", "CA"]
_VALUES: dict[str, list[str]] = {
    "integer": [str(n) for n in range(1, 9)],
    "bigint": [str(n) for n in range(1, 9)],
    "numeric": ["0", "0.5", "1.25", "3", "4.75", "7.5", "12", "16.25", "19"],
    "text": _TEXTS,
    "date": [f"2001-{month:02}-{day:02}" for month in range(1, 13) for day in (1, 11, 21)],
    "timestamp with time zone": [f"2013-01-0{n} 0{n}:00Z" for n in range(1, 5)],
    "integer[]": ["{}", "{1}", "{1,2}", "{2,2,3}", "{5}"],
    "jsonb": ["{}", '{"a": 1}', '{"a": [1], "b": "x"}', '{"b": "y", "c": 2}'],
}
_ROWS = 24
_NULLS = 0.08


@dataclass(frozen=True)
class Violation:
    """A column predicted clean with a changed result."""

    query: str
    changed: str
    clean: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """The outputs of a query predicted dirty for one column of one table."""

    query: Query
    table: str
    column: str
    dirty: DirtyColumns | Pruning


def trials(corpus: Corpus) -> list[Trial]:
    """Every query with every column of every table in its FROM clauses."""
    return [
        Trial(query, table, column, propagate_columns(columns, frozenset({column})))
        for query in corpus.queries
        for table, columns in query.maps.items()
        for column in corpus.tables[table]
    ]


def violations(
    conn: psycopg.Connection, corpus: Corpus, random: Random, *, rounds: int, tries: int
) -> Iterator[Violation]:
    """Fill the tables `rounds` times, and change `tries` columns under every query each time."""
    narrow = [trial for trial in trials(corpus) if trial.dirty is not ALL_COLUMNS]
    for _ in range(rounds):
        with conn.transaction(force_rollback=True):
            fill(conn, corpus, random)
            for query in corpus.queries:
                own = [trial for trial in narrow if trial.query is query]
                yield from _broken(conn, corpus, random, random.sample(own, min(tries, len(own))))


def _broken(
    conn: psycopg.Connection, corpus: Corpus, random: Random, tried: Sequence[Trial]
) -> Iterator[Violation]:
    before = _result(conn, tried[0].query) if tried else None
    for trial in tried:
        with conn.transaction(force_rollback=True):
            _change(conn, corpus, random, trial)
            after = _result(conn, trial.query)
        if before is not None and before.projected(trial.dirty) != after.projected(trial.dirty):
            clean = tuple(name for name in after.columns if name not in _names(trial.dirty))
            yield Violation(trial.query.name, f"{trial.table}.{trial.column}", clean)


@dataclass(frozen=True)
class _Result:
    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]

    def projected(self, dirty: DirtyColumns | Pruning) -> Counter[str]:
        """The rows without dirty columns, regardless of order."""
        places = [i for i, name in enumerate(self.columns) if name not in _names(dirty)]
        return Counter(repr([row[i] for i in places]) for row in self.rows)


def _names(dirty: DirtyColumns | Pruning) -> frozenset[str]:
    return frozenset() if dirty is PRUNED or dirty is ALL_COLUMNS else dirty


def _result(conn: psycopg.Connection, query: Query) -> _Result:
    cursor = conn.execute(query.text.encode())
    return _Result(tuple(each.name for each in cursor.description or ()), cursor.fetchall())


def fill(conn: psycopg.Connection, corpus: Corpus, random: Random) -> None:
    for table, columns in corpus.tables.items():
        kinds = columns.values()
        rows = [[_value(kind, random) for kind in kinds] for _ in range(_ROWS)]
        copy = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
        with conn.cursor() as cursor, cursor.copy(copy) as file:
            for row in rows:
                file.write_row(row)
    conn.execute("ANALYZE")


def _change(conn: psycopg.Connection, corpus: Corpus, random: Random, trial: Trial) -> None:
    """Change a column in some rows; all random draws come from the seed."""
    kind = corpus.tables[trial.table][trial.column]
    values = [_value(kind, random) for _ in range(_ROWS)]
    conn.execute("SELECT setseed(%s)", [random.random()])
    update = sql.SQL(
        "UPDATE {} SET {} = (%s::text[])[1 + floor(random() * %s)::int]::{} WHERE random() < %s"
    ).format(sql.Identifier(trial.table), sql.Identifier(trial.column), sql.SQL(kind))
    conn.execute(update, [values, _ROWS, random.choice([0.1, 0.5, 1.0])])


def change_rows_of(
    conn: psycopg.Connection,
    corpus: Corpus,
    random: Random,
    table: str,
    column: str,
    value: str,
) -> None:
    """Delete some rows with the value, change others elsewhere, and add a row."""
    kinds = corpus.tables[table]
    where = sql.SQL("{} = {}::{}").format(
        sql.Identifier(column),
        value,
        sql.SQL(kinds[column]),  # type: ignore[arg-type]
    )
    named = sql.Identifier(table)
    conn.execute("SELECT setseed(%s)", [random.random()])
    conn.execute(sql.SQL("DELETE FROM {} WHERE {} AND random() < 0.4").format(named, where))
    for other, kind in kinds.items():
        if other != column:
            update = sql.SQL("UPDATE {} SET {} = %s::{} WHERE {} AND random() < 0.4")
            kind_of = sql.SQL(kind)  # type: ignore[arg-type]
            change = update.format(named, sql.Identifier(other), kind_of, where)
            conn.execute(change, [_value(kind, random)])
    row = [value if each == column else _value(kind, random) for each, kind in kinds.items()]
    with conn.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(named)) as file:
        file.write_row(row)


def _value(kind: str, random: Random) -> str | None:
    return None if random.random() < _NULLS else random.choice(_VALUES[kind])
