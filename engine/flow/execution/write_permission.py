"""Permission to write to a table: the table holds the dataset, or was assigned to its job.

Checked at every deploy for all existing tables, and by workers before each write.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from psycopg import sql

from engine.errors import InvalidInput
from engine.flow.execution.table_claims import Claim, find_claims, own_claims
from engine.lineage.catalog import outputs
from engine.lineage.compiled import CompiledDag
from engine.model.dag import DagFile
from engine.model.dataset import Dataset
from engine.model.source_positions import Problem
from engine.model.states import Activation
from engine.model.table_mark import TableMark
from engine.model.tables import (
    DEFAULT_SCHEMA,
    TableName,
    bare_name,
    table_name,
    table_text,
)
from engine.store.database import Connection
from engine.store.rows.dags import NamedId
from engine.store.rows.tables import DescribedTable, ReachedTable
from engine.store.run import fetch

_TABLES = ("r", "p", "f")
"""Ordinary, partitioned and foreign tables; other writable relations redirect the write."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Relation in the database, with the comment that may bear Knockon's mark.

    ``has_relatives``: writes may change rows of other tables, by inheritance or by foreign keys.
    ``rule``: rule that rewrites statements writing to the relation.
    """

    schema: str
    name: str
    kind: str
    comment: str | None
    has_relatives: bool
    rule: str | None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class _Target:
    """Table that a job is to write; ``id`` is None if the dataset was never deployed."""

    id: UUID | None
    dataset: str
    table: TableName
    is_adopted: bool


async def find_conflicts(
    conn: Connection, org_id: UUID, dag: DagFile, compiled: Mapping[str, CompiledDag]
) -> list[Problem]:
    """Find the outputs of SQL jobs whose tables must not be written, by path in the file.

    ``compiled`` has the DAG, and the others that are deployed with it.
    """
    names = [dataset.name for dataset in compiled[dag.dag].datasets]
    rows = await fetch(conn, "dags.datasets_named", NamedId, org_id=org_id, names=names)
    ids = {row.name: row.id for row in rows}
    targets = {
        path: _target(ids.get(output.dataset), output.dataset, output.storage)
        for path, job, output in outputs(dag)
        if job.operator == "sql" and job.activation != Activation.SOURCE
    }
    if not targets:
        return []
    quoted = {path: _quoted(conn, target.table) for path, target in targets.items()}
    relations = await _relations(conn, quoted.values())
    reached = await _reached(conn, quoted.values())
    written = list(chain.from_iterable(reached.values()))
    tables = {row.table for row in written} | {target.table.name for target in targets.values()}
    claims_by_name: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in (
        *(claim for each in compiled.values() for claim in own_claims(each)),
        *await find_claims(conn, org_id, tables, written, compiled),
    ):
        claims_by_name[bare_name(claim.table.name)].append(claim)
    problems = []
    for path, target in targets.items():
        of_target = reached.get(quoted[path]) or [_row_to_be(target)]
        claims = [claim for row in of_target for claim in claims_by_name[bare_name(row.table)]]
        if problem := _objection(target, relations.get(quoted[path]), of_target, claims):
            problems.append(Problem((*path, "storage"), problem))
    return problems


async def check_target(
    conn: Connection, org_id: UUID, dataset: Dataset, relation: Relation
) -> None:
    """Raise InvalidInput if a job may not write its dataset to an existing table."""
    target = _target(dataset.id, dataset.name, dataset.storage)
    if _is_simple(target, relation):
        return
    name = _quoted(conn, target.table)
    rows = (await _reached(conn, [name])).get(name, [])
    tables = {row.table for row in rows} | {relation.name}
    claims = await find_claims(conn, org_id, tables, rows)
    if problem := _objection(target, relation, rows, claims):
        raise InvalidInput(f"dataset {dataset.name!r}: {problem}")


def _is_simple(target: _Target, relation: Relation) -> bool:
    """Return True for a plain table marked with the dataset, which needs no further check."""
    mark = TableMark.read(relation.comment)
    is_own = mark is not None and mark.dataset == str(target.id)
    return is_own and relation.kind == "r" and not (relation.has_relatives or relation.rule)


def _objection(
    target: _Target,
    relation: Relation | None,
    rows: Sequence[ReachedTable],
    claims: Collection[Claim],
) -> str | None:
    """Return the reason not to write the target, with the remedy; None if writing is allowed."""
    others = [claim for claim in claims if claim.dataset != target.dataset or not claim.is_ours]
    if relation is not None and relation.kind not in _TABLES:
        return f"{relation} is a view, and a write to it changes other tables: name a table"
    if relation is not None and relation.rule:
        return (
            f"{relation} has the rule {relation.rule}, which rewrites what the job writes: drop it"
        )
    own = [claim for claim in claims if claim.is_captured and claim not in others]
    return (
        _taken(target, rows, others)
        or _captured(target, rows, own)
        or _cascading(target, rows)
        or (_unmarked(target, relation) if relation is not None else None)
    )


def _taken(target: _Target, rows: Iterable[ReachedTable], claims: Collection[Claim]) -> str | None:
    for row in rows:
        for claim in claims:
            if claim.covers(row):
                reached = f"{row.schema}.{row.table}"
                return (
                    f"a write to table {target.table} changes {reached}, which holds {claim}: name "
                    "another table as storage.table"
                )
    return None


def _captured(
    target: _Target, rows: Iterable[ReachedTable], claims: Collection[Claim]
) -> str | None:
    """Object to capture of the output itself: each run would cause the next one."""
    for row in rows:
        if any(claim.covers(row) for claim in claims):
            table = f"{row.schema}.{row.table}"
            return (
                f"table {table} is attached as dataset {target.dataset!r}, so every run would "
                f"cause another: run 'knockon detach {table} --dataset {target.dataset}'"
            )
    return None


def _cascading(target: _Target, rows: Iterable[ReachedTable]) -> str | None:
    for row in rows:
        if row.via is not None:
            return (
                f"a write to table {target.table} changes {row.schema}.{row.table} through "
                f"the foreign key {row.via}: make its actions NO ACTION, or name another table"
            )
    return None


def _unmarked(target: _Target, relation: Relation) -> str | None:
    mark = TableMark.read(relation.comment)
    if target.is_adopted or (mark is not None and mark.dataset == str(target.id)):
        return None
    give = "name another table, or give this one to the job with storage: {adopt: true}"
    if mark is None:
        return f"table {relation} exists, and Knockon did not create it: {give}"
    return (
        f"table {relation} was created for another dataset and holds its rows: {give}, or drop it"
    )


def _target(id_: UUID | None, dataset: str, storage: Mapping[str, Any]) -> _Target:
    table = table_name(table_text(storage, dataset))
    return _Target(id_, dataset, table, storage.get("adopt") is True)


def _row_to_be(target: _Target) -> ReachedTable:
    """Return the row for a table that does not exist yet, so no other table can hide it."""
    table = target.table.qualified
    schema = str(table.schema)
    return ReachedTable(table.name, schema, table.name, schema == DEFAULT_SCHEMA, None, [])


async def _relations(conn: Connection, names: Iterable[str]) -> dict[str, Relation]:
    rows = await fetch(conn, "tables.describe", DescribedTable, names=list(names))
    return {
        row.name: Relation(
            row.schema,
            row.table,
            row.kind,
            row.comment,
            row.has_relatives,
            row.rule,
        )
        for row in rows
    }


async def _reached(conn: Connection, names: Iterable[str]) -> dict[str, list[ReachedTable]]:
    rows_by_name: dict[str, list[ReachedTable]] = {}
    for row in await fetch(conn, "tables.reached_by_writes", ReachedTable, names=list(names)):
        rows_by_name.setdefault(row.name, []).append(row)
    return rows_by_name


def _quoted(conn: Connection, table: TableName) -> str:
    return sql.Identifier(*table.parts).as_string(conn)
