"""Tables in use: datasets are stored in them, or captured from them.

Claims are based on the names in DAG files, and on capture triggers, which identify a table under
whatever name it was attached.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from uuid import UUID

from engine.lineage.compiled import CompiledDag
from engine.model.states import Activation
from engine.model.tables import (
    TableName,
    bare_name,
    keeps_table,
    sql_name,
    table_name,
    table_text,
)
from engine.store.database import Connection
from engine.store.rows.tables import (
    CapturedTable,
    EntitledClaim,
    ReachedTable,
    TableClaim,
    WrittenTable,
)
from engine.store.run import fetch


@dataclass(frozen=True, slots=True)
class Claim:
    """Table that a dataset is stored in or captured from; ``is_ours``: of the same org.

    ``is_captured``: triggers on the table log its changes as changes of the dataset.
    """

    dataset: str
    is_source: bool
    is_ours: bool
    table: TableName
    org_id: UUID | None = None
    is_captured: bool = False

    def __str__(self) -> str:
        if not self.is_ours:
            return "a dataset of another org"
        return f"{'source dataset' if self.is_source else 'dataset'} {self.dataset!r}"

    def covers(self, row: ReachedTable | WrittenTable) -> bool:
        """Return True if the claim is on the table of a row."""
        schema, name = self.table
        is_there = row.is_visible if schema is None else schema == row.schema
        return bool(is_there) and name == row.table


def own_claims(compiled: CompiledDag) -> Iterator[Claim]:
    """Yield the claims of a DAG's datasets on tables."""
    jobs = {job.name: job for job in compiled.jobs}
    for dataset in compiled.datasets:
        source = jobs[dataset.job].source or {}
        is_source = jobs[dataset.job].activation == Activation.SOURCE
        stored = [table_text(dataset.storage, dataset.name)] if keeps_table(dataset.storage) else []
        tables = [table_name(text) for text in stored]
        if source.get("kind") == "postgres":
            tables.append(sql_name(str(source["table"])))
        for table in tables:
            yield Claim(dataset.name, is_source, True, table)


async def find_claims(
    conn: Connection,
    org_id: UUID,
    names: Iterable[str],
    reached: Sequence[ReachedTable | WrittenTable],
    deployed: Mapping[str, CompiledDag] = MappingProxyType({}),
) -> list[Claim]:
    """Find the claims of current versions on tables of the given names or reached by writes.

    The claims of DAGs about to be deployed are left to `own_claims`, except for captured tables.
    """
    rows = await fetch(
        conn, "tables.claims", TableClaim, names=sorted({bare_name(name) for name in names})
    )
    claims = [
        _claim(row, org_id, (sql_name if row.folds else table_name)(row.spelling))
        for row in rows
        if row.org_id != org_id or row.dag_name not in deployed
    ]
    claims += [
        _claim(row, org_id, TableName(row.schema, row.table))
        for row in await _captured(conn, reached)
        if not _is_removed(row, org_id, deployed)
    ]
    foreign = [claim for claim in claims if not claim.is_ours]
    return [*(claim for claim in claims if claim.is_ours), *await _entitled(conn, org_id, foreign)]


def _claim(row: TableClaim | CapturedTable, org_id: UUID, table: TableName) -> Claim:
    is_ours = row.org_id == org_id
    captured = isinstance(row, CapturedTable)
    return Claim(row.name, row.is_source, is_ours, table, row.org_id, captured)


async def _captured(
    conn: Connection, reached: Sequence[ReachedTable | WrittenTable]
) -> list[CapturedTable]:
    """Fetch the datasets to which capture triggers on the tables log."""
    triggers = [(stem, row) for row in reached for stem in row.captured]
    if not triggers:
        return []
    return await fetch(
        conn,
        "tables.captured",
        CapturedTable,
        stems=[stem for stem, _ in triggers],
        schemas=[row.schema for _, row in triggers],
        tables=[row.table for _, row in triggers],
    )


def _is_removed(row: CapturedTable, org_id: UUID, deployed: Mapping[str, CompiledDag]) -> bool:
    """Return True if no DAG about to be deployed still has a captured dataset of one of them."""
    is_theirs = row.org_id == org_id and row.dag_name in deployed
    datasets = (dataset for each in deployed.values() for dataset in each.datasets)
    return is_theirs and all(dataset.name != row.name for dataset in datasets)


async def _entitled(conn: Connection, org_id: UUID, foreign: Sequence[Claim]) -> list[Claim]:
    """Return the valid claims of other orgs: naming a table in a file gives no right to it."""
    if not foreign:
        return []
    tables = [claim.table.parts for claim in foreign]
    rows = await fetch(
        conn,
        "tables.entitled",
        EntitledClaim,
        org_id=org_id,
        orgs=[claim.org_id for claim in foreign],
        schemas=[schema for schema, _ in tables],
        tables=[name for _, name in tables],
        are_sources=[claim.is_source for claim in foreign],
    )
    return [foreign[row.number - 1] for row in rows]
