"""The columns recorded by PostgreSQL as used by a view, against those read by the tracer."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from sqlglot import exp

from engine.lineage.columns import EVERY
from engine.lineage.sql.parse import parse
from engine.lineage.sql.query import Tracer
from engine.lineage.sql.relation import NOTHING, Reads, Relation
from engine.lineage.sql.scope import Scope
from engine.lineage.sql.unresolved import Unresolved
from tests.support.corpora import Tables

Columns = frozenset[tuple[str, str]]
_RECORDED = """
    SELECT DISTINCT c.relname, a.attname
    FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
    WHERE r.ev_class = 'recorded_view'::regclass AND c.oid <> r.ev_class AND d.refobjsubid > 0
"""


class _Recorder(Tracer):
    """Collector of the reads of every part, including parts without an output column."""

    def __init__(self, root: exp.Expr, whole: Reads) -> None:
        super().__init__(root, whole)
        self.met: Reads = NOTHING
        read, key = self._expressions.read, self._expressions.key
        self._expressions.read = lambda *args: self._collect(read(*args))  # type: ignore[method-assign]
        self._expressions.key = lambda *args: self._collect(key(*args))  # type: ignore[method-assign]

    def trace(self, node: exp.Expr, scope: Scope) -> Relation:
        found = super().trace(node, scope)
        self._collect(found.everything | found.rows)
        return found

    def _collect(self, reads: Reads) -> Reads:
        self.met |= reads
        return reads


def recorded(conn: psycopg.Connection, text: str) -> Columns | None:
    """The columns that a view of the query depends on; None if it cannot be a view."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(f"CREATE VIEW recorded_view AS {text}".encode())
            return frozenset((table, column) for table, column in conn.execute(_RECORDED))
    except psycopg.Error:
        return None


def traced(text: str, tables: Tables) -> Columns | None:
    """All columns read by the tracer; None if the query is unresolved."""
    inputs = {table: Relation.of_input(table, columns) for table, columns in tables.items()}
    try:
        tracer = _Recorder(parse(text).query, NOTHING)
        tracer.run(Scope(inputs))
    except Unresolved:
        return None
    return _columns(tracer.met, tables)


def derived(lineage: Mapping[str, Reads], tables: Tables) -> Columns:
    return _columns(NOTHING.union(*lineage.values()), tables)


def is_flat(text: str) -> bool:
    """Check for a single SELECT, in which every named column shapes the result."""
    query = parse(text).query
    ends_in_order = query.args.get("order") is not None and query.args.get("limit") is None
    return not ends_in_order and len(list(query.find_all(exp.Query, exp.Values))) == 1


def _columns(reads: Reads, tables: Tables) -> Columns:
    return frozenset(
        (alias, name)
        for alias, column in reads
        for name in (tables[alias] if column == EVERY else [column])
    )
