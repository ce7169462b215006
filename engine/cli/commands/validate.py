"""`knockon validate`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import print_error, show
from engine.cli.runtime.dag_files import read_each
from engine.cli.runtime.plugins import missing_plugins
from engine.errors import InvalidDag
from engine.flow.deployment.current_versions import compile_each
from engine.lineage.columns import EVERY, NO_COLUMN
from engine.lineage.compiled import CompiledColumn, CompiledDag, CompiledNote
from engine.model.states import Activation
from engine.wording import counted

app = typer.Typer(add_completion=False)
_Columns = dict[str, list[str]]
"""Input columns by output column, or * for all output columns."""


@dataclass(frozen=True)
class _Checked:
    file: str
    dag: str | None
    jobs: int
    datasets: int
    problems: tuple[str, ...]
    notes: tuple[CompiledNote, ...] = ()
    columns: dict[str, _Columns | None] | None = None


@app.command()
@command
def validate(
    options: GlobalOptions,
    files: Annotated[
        list[Path], typer.Argument(help="DAG files; - for standard input.", metavar="FILE")
    ],
    columns: Annotated[
        bool, typer.Option("--columns", "-c", help="Show the lineage of each column.")
    ] = False,
) -> None:
    """Check DAG files without a database; the files may read each other's outputs.

    Notes list columns not derivable from SQL, and operators and runtimes that are not installed
    here. Functions and operators of SQL named like a built-in are assumed to be the built-in;
    deploy looks them up in the database.
    """
    results = [*_checked(files, columns)]
    for problem in (problem for result in results for problem in result.problems):
        print_error(problem)
    show(options, results, _report)
    if any(result.problems for result in results):
        raise typer.Exit(1)


def _checked(files: Sequence[Path], columns: bool) -> Iterator[_Checked]:
    """Check files in order; each may read the outputs of all others."""
    dags = dict(read_each(files))
    compiled, errors = compile_each(
        {}, [dag for dag in dags.values() if not isinstance(dag, InvalidDag)]
    )
    for file, dag in dags.items():
        error = dag if isinstance(dag, InvalidDag) else errors.get(dag.dag)
        if error is not None:
            yield _Checked(str(file), None, 0, 0, tuple(str(error).splitlines()))
        elif not isinstance(dag, InvalidDag):
            yield _check(file, compiled[dag.dag], columns)


def _check(file: Path, compiled: CompiledDag, columns: bool) -> _Checked:
    missing = list(missing_plugins(compiled))
    if problems := tuple(f"{file}: {plugin.problem}" for plugin in missing if plugin.problem):
        return _Checked(str(file), None, 0, 0, problems)
    return _Checked(
        file=str(file),
        dag=compiled.name,
        jobs=len(compiled.jobs),
        datasets=len(compiled.datasets),
        problems=(),
        notes=(*compiled.notes, *(plugin.note for plugin in missing)),
        columns=_columns(compiled) if columns else None,
    )


def _columns(compiled: CompiledDag) -> dict[str, _Columns | None]:
    """Column lineage of each output dataset; None if unknown, so that any change counts."""
    rows: dict[str, list[CompiledColumn]] = {}
    for row in compiled.columns:
        rows.setdefault(row.output_dataset, []).append(row)
    sources = {job.name for job in compiled.jobs if job.activation == Activation.SOURCE}
    outputs = [dataset for dataset in compiled.datasets if dataset.job not in sources]
    return {
        dataset.name: _inputs_by_column(dataset.columns or (), rows.get(dataset.name))
        for dataset in outputs
    }


def _inputs_by_column(names: tuple[str, ...], rows: list[CompiledColumn] | None) -> _Columns | None:
    if rows is None:
        return None
    inputs: _Columns = {name: [] for name in names}
    for row in rows:
        if row.input_column != NO_COLUMN:
            columns = inputs.setdefault(row.output_column, [])
            columns.append(f"{row.input_dataset}.{row.input_column}")
    return inputs


def _report(results: list[_Checked]) -> Group:
    return Group(*(line for result in results if not result.problems for line in _lines(result)))


def _lines(result: _Checked) -> Iterator[RenderableType]:
    counts = f"{counted(result.jobs, 'job')}, {counted(result.datasets, 'dataset')}"
    yield Text.assemble(
        ("✓ ", "green"), (str(result.dag), "bold"), f"  {counts}  ", (result.file, "dim")
    )
    for note in result.notes:
        yield Text.assemble(("  note: ", "yellow"), str(note))
    for dataset, columns in (result.columns or {}).items():
        yield _tree(dataset, columns)


def _tree(dataset: str, columns: _Columns | None) -> Tree:
    tree = Tree(Text(dataset, "bold"))
    if columns is None:
        tree.add(Text("columns unknown: any change counts", "yellow"))
    for column, read in (columns or {}).items():
        name = "all columns" if column == EVERY else column
        tree.add(Text.assemble(name, (f" ← {', '.join(read) or 'no column'}", "cyan")))
    return tree
