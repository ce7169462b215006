"""`knockon validate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group
from rich.text import Text

from engine.cli.call import Call, command
from engine.cli.dagfiles import read_dag
from engine.cli.output import complain, counted, show
from engine.errors import InvalidDag
from engine.flow.serving import Serving, compile_among

app = typer.Typer(add_completion=False)
_NOT_STORED = UUID(int=0)


@dataclass(frozen=True)
class _Checked:
    file: str
    dag: str | None
    jobs: int
    datasets: int
    problems: tuple[str, ...]


@app.command()
@command
def validate(
    call: Call,
    files: Annotated[list[Path], typer.Argument(help="DAG files.", metavar="FILE")],
) -> None:
    """Check DAG files without a database; those given later may read from those before."""
    serving: dict[str, Serving] = {}
    checked = [_check(file, serving) for file in files]
    for problem in (problem for each in checked for problem in each.problems):
        complain(problem)
    show(call, checked, _lines)
    if any(each.problems for each in checked):
        raise typer.Exit(1)


def _check(file: Path, serving: dict[str, Serving]) -> _Checked:
    try:
        compiled = compile_among(serving, read_dag(file))
    except InvalidDag as error:
        return _Checked(str(file), None, 0, 0, tuple(str(error).splitlines()))
    serving[compiled.name] = Serving(_NOT_STORED, compiled)
    return _Checked(str(file), compiled.name, len(compiled.jobs), len(compiled.datasets), ())


def _lines(checked: list[_Checked]) -> Group:
    return Group(*(_line(each) for each in checked if not each.problems))


def _line(each: _Checked) -> Text:
    holds = f"{counted(each.jobs, 'job')}, {counted(each.datasets, 'dataset')}"
    return Text.assemble(
        ("✓ ", "green"), (str(each.dag), "bold"), f"  {holds}  ", (each.file, "dim")
    )
