"""Checks for conflicts over tables between a job and a source or another job."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.lineage.catalog import CatalogEntry, DagContext, outputs
from engine.model.dag import JobSpec, Output
from engine.model.dag_sources import PostgresSource
from engine.model.identifiers import fold
from engine.model.source_positions import Path, Problem
from engine.model.states import Activation
from engine.model.tables import TableName, keeps_table, meanings, sql_name, table_text


@dataclass(frozen=True, slots=True)
class TableUse:
    """A dataset with the tables that may store it or from which it may be captured."""

    dataset: str
    is_source: bool
    tables: frozenset[TableName]
    dag: str | None = None

    @staticmethod
    def of(
        dataset: str,
        storage: Mapping[str, Any],
        *,
        is_source: bool,
        captured_table: str | None = None,
        dag: str | None = None,
    ) -> "TableUse":
        """Collect the tables used by a dataset with this storage."""
        names = meanings(storage, dataset) if keeps_table(storage) else set[TableName]()
        if captured_table is not None:
            names.add(sql_name(captured_table))
        tables = frozenset(name.qualified for name in names)
        return TableUse(dataset, is_source, tables, dag)

    def __str__(self) -> str:
        noun = "source dataset" if self.is_source else "dataset"
        return f"{noun} {self.dataset!r}" + (f" of DAG {self.dag!r}" if self.dag else "")


def check_tables(context: DagContext) -> Iterator[Problem]:
    """Report jobs that would write to a table of a source, another dataset, or Knockon itself."""
    used: dict[TableName, list[TableUse]] = {}
    for entry in context.catalog.values():
        _register(used, _use_of_entry(entry))
    # Sources come first so that a conflict is reported at the job that would write the table.
    for path, job, output in sorted(
        outputs(context.dag), key=lambda listed: not _is_source(listed[1])
    ):
        yield from _check_storage(job, output, path)
        use = _use(job, output)
        yield from _check_use(use, output, path, used)
        _register(used, use)


def _register(used: dict[TableName, list[TableUse]], use: TableUse) -> None:
    for table in use.tables:
        used.setdefault(table, []).append(use)


def _is_source(job: JobSpec) -> bool:
    return job.activation == Activation.SOURCE


def _use(job: JobSpec, output: Output) -> TableUse:
    captured = job.source.table if isinstance(job.source, PostgresSource) else None
    return TableUse.of(
        output.dataset, output.storage, is_source=_is_source(job), captured_table=captured
    )


def _use_of_entry(entry: CatalogEntry) -> TableUse:
    return TableUse.of(
        entry.name,
        entry.storage,
        is_source=entry.is_source,
        captured_table=entry.captured_table,
        dag=entry.dag_name,
    )


def _check_storage(job: JobSpec, output: Output, path: Path) -> Iterator[Problem]:
    adopt = output.storage.get("adopt")
    if adopt is not None and not isinstance(adopt, bool):
        yield Problem((*path, "storage", "adopt"), "this must be true or false")
    if adopt and _is_source(job):
        yield Problem((*path, "storage", "adopt"), "jobs do not write to sources: delete this key")


def _check_use(
    use: TableUse, output: Output, path: Path, used: Mapping[TableName, list[TableUse]]
) -> Iterator[Problem]:
    at = (*path, "storage", "table") if "table" in output.storage else path
    text = table_text(output.storage, output.dataset)
    if not use.is_source and any(table.is_reserved for table in use.tables):
        yield Problem(at, f"table {text} belongs to Knockon or PostgreSQL: name another table")
    others = (other for table in sorted(use.tables) for other in used.get(table, ()))
    for other in others:
        if other.dataset != use.dataset and not (other.is_source and use.is_source):
            yield Problem(at, _conflict(use, other, text))
            return


def _conflict(use: TableUse, other: TableUse, text: str) -> str:
    if use.is_source:
        return f"table {text} is written by the job of {other}: name the source's own table"
    folds = any(table.name != fold(table.name) for table in use.tables | other.tables)
    hint = """ (SQL folds names: quote one, '"Orders"', to keep its capitals)""" if folds else ""
    return f"table {text} holds {other}, which the job would overwrite: name another table{hint}"
