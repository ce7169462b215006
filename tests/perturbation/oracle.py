"""Random queries on random data: derived lineage against the results and catalog of PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import psycopg

from engine.lineage.sql import Relation, derive
from tests.support.corpora import Corpus, columns_of, create, query
from tests.support.dependencies import derived, is_flat, recorded, traced
from tests.support.perturbation import fill, violations
from tests.support.queries import Writer
from tests.support.typed_queries import TABLES, TypedWriter

_MAX_ROWS = 10_000


@dataclass
class Oracle:
    """Checker of generated queries; ``counts`` has the number of queries by kind."""

    conn: psycopg.Connection
    counts: Counter[str] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Create the tables, in a separate schema."""
        self.conn.execute("CREATE SCHEMA oracle; SET search_path = oracle")
        create(self.conn, TABLES)
        self.conn.execute("SET statement_timeout = '300ms'")

    def check(self, seed: int) -> list[str]:
        """Errors in the lineage of one query."""
        random = Random(seed)
        text = (TypedWriter(random) if seed % 4 else Writer(random)).query()
        self.counts["written"] += 1
        if not (names := self._accepted(text)):
            return []
        self.counts["accepted"] += 1
        found = [*self._names(text, names), *self._dependencies(text), *self._changes(text, random)]
        return [f"{each}\nseed {seed}: {text}" for each in found]

    def _accepted(self, text: str) -> tuple[str, ...]:
        """The columns of a query; none if it is invalid or PostgreSQL fails on it."""
        try:
            return columns_of(self.conn, text)
        except psycopg.Error as error:  # such as "unsupported join alias expression" of its planner
            self.counts[type(error).__name__] += 1
            return ()

    def _names(self, text: str, names: tuple[str, ...]) -> Iterator[str]:
        columns = query(text, text, TABLES).columns
        if columns is not None and set(columns) != set(names):
            yield f"the columns are {names}, not {columns}"

    def _dependencies(self, text: str) -> Iterator[str]:
        """PostgreSQL's record of the columns used by a view."""
        theirs, met = recorded(self.conn, text), traced(text, TABLES)
        self.counts["views"] += theirs is not None
        if theirs is None or met is None:
            return
        self.counts["views compared"] += 1
        if theirs - met:
            yield f"never read: {sorted(theirs - met)}"
        inputs = {table: Relation.of_input(table, columns) for table, columns in TABLES.items()}
        lineage = derive(text, inputs, {}).lineage
        if lineage is not None and is_flat(text):
            self.counts["views compared with their lineage"] += 1
            if missing := theirs - derived(lineage, TABLES):
                yield f"missing in the lineage: {sorted(missing)}"

    def _changes(self, text: str, random: Random) -> Iterator[str]:
        """A changed value in one column, and the outputs with changed results."""
        tried = query(text, text, TABLES)
        self.counts["with lineage"] += None not in tried.maps.values()
        corpus = Corpus(TABLES, (tried,))
        if not self._is_short(corpus, random):
            return
        self.counts["perturbed"] += 1
        try:
            for each in violations(self.conn, corpus, random, rounds=1, tries=6):
                yield f"{each.changed} changes the result beyond its lineage: not only {each.clean}"
        except psycopg.Error as error:  # the query fails on this data, or runs for too long
            self.counts[type(error).__name__] += 1

    def _is_short(self, corpus: Corpus, random: Random) -> bool:
        bounded = f"SELECT FROM ({corpus.queries[0].text}) AS q LIMIT {_MAX_ROWS + 1}"
        limited = f"SELECT count(*) FROM ({bounded}) AS r"
        try:
            with self.conn.transaction(force_rollback=True):
                fill(self.conn, corpus, random)
                row = self.conn.execute(limited.encode()).fetchone()
        except psycopg.Error:
            return False
        return row is not None and row[0] <= _MAX_ROWS
