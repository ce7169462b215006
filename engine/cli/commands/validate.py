"""`knockon validate`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import print_error, show
from engine.cli.runtime.dag_files import read_dag
from engine.errors import InvalidDag
from engine.flow.deployment.current_versions import CurrentVersion, compile_among
from engine.lineage.columns import EVERY, NO_COLUMN
from engine.lineage.compiled import CompiledColumn, CompiledDag, CompiledNote
from engine.wording import counted

app = typer.Typer(add_completion=False)
_NOT_STORED = UUID(int=0)
_Columns = dict[str, list[str]]
"""From each column, or *, to the input columns that it comes from."""


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
    """Check DAG files without a database; later files may read outputs of earlier files.

    Notes list columns not derivable from SQL. No user-defined function or operator is assumed to
    share the name of a built-in; deploy looks up the database.
    """
    current: dict[str, CurrentVersion] = {}
    checked = [_check(file, current, columns) for file in files]
    for problem in (problem for each in checked for problem in each.problems):
        print_error(problem)
    show(options, checked, _lines)
    if any(each.problems for each in checked):
        raise typer.Exit(1)


def _check(file: Path, current: dict[str, CurrentVersion], columns: bool) -> _Checked:
    try:
        compiled = compile_among(current, read_dag(file))
    except InvalidDag as error:
        return _Checked(str(file), None, 0, 0, tuple(str(error).splitlines()))
    current[compiled.name] = CurrentVersion(_NOT_STORED, compiled)
    return _Checked(
        file=str(file),
        dag=compiled.name,
        jobs=len(compiled.jobs),
        datasets=len(compiled.datasets),
        problems=(),
        notes=compiled.notes,
        columns=_columns(compiled) if columns else None,
    )


def _columns(compiled: CompiledDag) -> dict[str, _Columns | None]:
    """By dataset that is made here; None where it counts as reading everything."""
    known: dict[str, list[CompiledColumn]] = {}
    for row in compiled.columns:
        known.setdefault(row.output_dataset, []).append(row)
    sources = {job.name for job in compiled.jobs if job.activation == "source"}
    made = [dataset for dataset in compiled.datasets if dataset.job not in sources]
    return {each.name: _read_by(each.columns or (), known.get(each.name)) for each in made}


def _read_by(names: tuple[str, ...], rows: list[CompiledColumn] | None) -> _Columns | None:
    if rows is None:
        return None
    found: _Columns = {name: [] for name in names}
    for row in rows:
        if row.input_column != NO_COLUMN:
            reads = found.setdefault(row.output_column, [])
            reads.append(f"{row.input_dataset}.{row.input_column}")
    return found


def _lines(checked: list[_Checked]) -> Group:
    return Group(*(line for each in checked if not each.problems for line in _report(each)))


def _report(each: _Checked) -> Iterator[RenderableType]:
    holds = f"{counted(each.jobs, 'job')}, {counted(each.datasets, 'dataset')}"
    yield Text.assemble(
        ("✓ ", "green"), (str(each.dag), "bold"), f"  {holds}  ", (each.file, "dim")
    )
    for note in each.notes:
        yield Text.assemble(("  note: ", "yellow"), (note.dataset, "bold"), f": {note.text}")
    for dataset, columns in (each.columns or {}).items():
        yield _tree(dataset, columns)


def _tree(dataset: str, columns: _Columns | None) -> Tree:
    tree = Tree(Text(dataset, "bold"))
    if columns is None:
        tree.add(Text("columns unknown: any change counts", "yellow"))
    for column, read in (columns or {}).items():
        name = "all columns" if column == EVERY else column
        tree.add(Text.assemble(name, (f" ← {', '.join(read) or 'no column'}", "cyan")))
    return tree
