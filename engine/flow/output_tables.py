"""Permission to write to a table: it holds the dataset, or was given to its job.

Asked at every deploy, of all tables that exist by then, and by workers before each write.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from engine.errors import InvalidInput
from engine.lineage.catalog import outputs
from engine.lineage.compiled import CompiledDag
from engine.model.dag import DagFile
from engine.model.dataset import Dataset
from engine.model.marks import Problem
from engine.model.table_mark import TableMark
from engine.model.tables import (
    DEFAULT_SCHEMA,
    TableName,
    bare_name,
    keeps_table,
    sql_name,
    table_name,
    table_text,
)
from engine.store.database import Connection
from engine.store.run import Row, fetch

_TABLES = ("r", "p", "f")
"""Ordinary, partitioned and foreign tables; what else can be written passes the write on."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation in the database, with the comment that may bear Knockon's mark.

    ``has_relatives``: writes may change rows of other tables, by inheritance or by foreign keys.
    ``rule`` rewrites statements that write to it.
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
    """A table that a job is to write; ``id`` None: the dataset has never been deployed."""

    id: UUID | None
    dataset: str
    table: TableName
    is_adopted: bool


@dataclass(frozen=True, slots=True)
class _Claim:
    """A table that a dataset is kept in or captured from; ``is_ours``: one of the same org."""

    dataset: str
    is_source: bool
    is_ours: bool
    table: TableName

    def __str__(self) -> str:
        if not self.is_ours:
            return "a dataset of another org"
        return f"{'source dataset' if self.is_source else 'dataset'} {self.dataset!r}"

    def covers(self, row: Row) -> bool:
        """Whether this is the table of a row of `tables.reached_by_writes`."""
        schema, name = self.table
        is_there = row["is_visible"] if schema is None else schema == row["schema"]
        return bool(is_there) and name == row["table"]


async def find_conflicts(
    conn: Connection, org_id: UUID, dag: DagFile, compiled: CompiledDag
) -> list[Problem]:
    """The outputs of a DAG's sql jobs whose tables are not for them, by path in the file."""
    ids = await _ids(conn, org_id, compiled)
    targets = {
        path: _target(ids.get(output.dataset), output.dataset, output.storage)
        for path, job, output in outputs(dag)
        if job.operator == "sql" and job.activation != "source"
    }
    if not targets:
        return []
    names = {path: _quoted(conn, each.table) for path, each in targets.items()}
    found = await _relations(conn, names.values())
    reached = await _reached(conn, names.values())
    near = {*(row["table"] for rows in reached.values() for row in rows)}
    near |= {each.table.name for each in targets.values()}
    claims = [
        *_own_claims(compiled),
        *await _claims(conn, org_id, near, except_dag=compiled.name),
    ]
    by_name = _by_bare_name(claims)
    problems = []
    for path, target in targets.items():
        name = names[path]
        rows = reached.get(name) or [_row_to_be(target)]
        close = [claim for row in rows for claim in by_name.get(bare_name(row["table"]), ())]
        if problem := _objection(target, found.get(name), rows, close):
            problems.append(Problem((*path, "storage"), problem))
    return problems


async def check_target(conn: Connection, org_id: UUID, dataset: Dataset, found: Relation) -> None:
    """Raise InvalidInput where a job may not write its dataset to an existing table."""
    target = _target(dataset.id, dataset.name, dataset.storage)
    if _is_simple(target, found):
        return
    name = _quoted(conn, target.table)
    rows = (await _reached(conn, [name])).get(name, [])
    claims = await _claims(conn, org_id, {row["table"] for row in rows} | {found.name})
    if problem := _objection(target, found, rows, claims):
        raise InvalidInput(f"dataset {dataset.name!r}: {problem}")


def _is_simple(target: _Target, found: Relation) -> bool:
    """Whether the mark alone decides: Knockon created the table for the dataset, as it is."""
    mark = TableMark.read(found.comment)
    is_own = mark is not None and mark.dataset == str(target.id)
    return is_own and found.kind == "r" and not (found.has_relatives or found.rule)


def _objection(
    target: _Target, found: Relation | None, rows: Sequence[Row], claims: Collection[_Claim]
) -> str | None:
    """The reason why the target must not be written, with the remedy; None where it may be."""
    others = [claim for claim in claims if claim.dataset != target.dataset or not claim.is_ours]
    if found is not None and found.kind not in _TABLES:
        return f"{found} is a view, and a write to it changes other tables: name a table"
    if found is not None and found.rule:
        return f"{found} has the rule {found.rule}, which rewrites what the job writes: drop it"
    if taken := _taken(target, rows, others) or _cascading(target, rows):
        return taken
    return _unmarked(target, found) if found is not None else None


def _taken(target: _Target, rows: Iterable[Row], claims: Collection[_Claim]) -> str | None:
    for row in rows:
        for claim in claims:
            if claim.covers(row):
                reached = f"{row['schema']}.{row['table']}"
                return (
                    f"a write to table {target.table} changes {reached}, which holds {claim}: name "
                    "another table as storage.table"
                )
    return None


def _cascading(target: _Target, rows: Iterable[Row]) -> str | None:
    for row in rows:
        if row["via"] is not None:
            return (
                f"a write to table {target.table} changes {row['schema']}.{row['table']} through "
                f"the foreign key {row['via']}: make its actions NO ACTION, or name another table"
            )
    return None


def _unmarked(target: _Target, found: Relation) -> str | None:
    mark = TableMark.read(found.comment)
    if target.is_adopted or (mark is not None and mark.dataset == str(target.id)):
        return None
    give = "name another table, or give this one to the job with storage: {adopt: true}"
    if mark is None:
        return f"table {found} exists, and Knockon did not create it: {give}"
    return f"table {found} was created for another dataset and holds its rows: {give}, or drop it"


def _target(id_: UUID | None, dataset: str, storage: Mapping[str, Any]) -> _Target:
    table = table_name(table_text(storage, dataset))
    return _Target(id_, dataset, table, storage.get("adopt") is True)


def _row_to_be(target: _Target) -> Row:
    """The row of a table that does not exist yet, and so cannot be hidden by another one."""
    table = target.table.qualified
    is_visible = table.schema == DEFAULT_SCHEMA
    return {"schema": table.schema, "table": table.name, "is_visible": is_visible, "via": None}


async def _ids(conn: Connection, org_id: UUID, compiled: CompiledDag) -> dict[str, UUID]:
    names = [each.name for each in compiled.datasets]
    rows = await fetch(conn, "dags.datasets_named", org_id=org_id, names=names)
    return {row["name"]: row["id"] for row in rows}


async def _relations(conn: Connection, names: Iterable[str]) -> dict[str, Relation]:
    rows = await fetch(conn, "tables.describe", names=list(names))
    return {
        row["name"]: Relation(
            row["schema"],
            row["table"],
            row["kind"],
            row["comment"],
            row["has_relatives"],
            row["rule"],
        )
        for row in rows
    }


async def _reached(conn: Connection, names: Iterable[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in await fetch(conn, "tables.reached_by_writes", names=list(names)):
        found.setdefault(row["name"], []).append(row)
    return found


def _own_claims(compiled: CompiledDag) -> Iterator[_Claim]:
    jobs = {job.name: job for job in compiled.jobs}
    for each in compiled.datasets:
        source = jobs[each.job].source or {}
        is_source = jobs[each.job].activation == "source"
        kept = [table_text(each.storage, each.name)] if keeps_table(each.storage) else []
        tables = [table_name(text) for text in kept]
        if source.get("kind") == "postgres":
            tables.append(sql_name(str(source["table"])))
        for table in tables:
            yield _Claim(each.name, is_source, True, table)


async def _claims(
    conn: Connection, org_id: UUID, names: Iterable[str], except_dag: str | None = None
) -> list[_Claim]:
    rows = await fetch(conn, "tables.claims", names=sorted({bare_name(name) for name in names}))
    claims = [
        (
            row["org_id"],
            _Claim(
                row["name"],
                row["is_source"],
                row["org_id"] == org_id,
                (sql_name if row["folds"] else table_name)(row["spelling"]),
            ),
        )
        for row in rows
        if row["org_id"] != org_id or row["dag_name"] != except_dag
    ]
    foreign = [(org, claim) for org, claim in claims if not claim.is_ours]
    return [
        *(claim for _, claim in claims if claim.is_ours),
        *await _entitled(conn, org_id, foreign),
    ]


async def _entitled(
    conn: Connection, org_id: UUID, foreign: Sequence[tuple[UUID, _Claim]]
) -> list[_Claim]:
    """The claims of other orgs that count: naming a table in a file alone gives no right to it."""
    if not foreign:
        return []
    tables = [claim.table.parts for _, claim in foreign]
    rows = await fetch(
        conn,
        "tables.entitled",
        org_id=org_id,
        orgs=[org for org, _ in foreign],
        schemas=[schema for schema, _ in tables],
        tables=[name for _, name in tables],
        are_sources=[claim.is_source for _, claim in foreign],
    )
    return [foreign[row["number"] - 1][1] for row in rows]


def _by_bare_name(claims: Iterable[_Claim]) -> dict[str, list[_Claim]]:
    found: dict[str, list[_Claim]] = {}
    for claim in claims:
        found.setdefault(bare_name(claim.table.name), []).append(claim)
    return found


def _quoted(conn: Connection, table: TableName) -> str:
    return sql.Identifier(*table.parts).as_string(conn)
