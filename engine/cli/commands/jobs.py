"""`knockon jobs`."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.commands._empty import nothing_deployed
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import counts_text, empty_table
from engine.cli.runtime.session import run
from engine.model.states import UNFINISHED_STATUSES
from engine.service.queries.jobs import JobRow
from engine.service.queries.jobs import jobs as list_jobs
from engine.wording import some

app = typer.Typer(add_completion=False)


@app.command()
@command
def jobs(
    options: GlobalOptions,
    dag: Annotated[str | None, typer.Option("--dag", "-d", help="DAG of the jobs.")] = None,
) -> None:
    """List jobs, each after the jobs upstream, with their unfinished tasks."""
    rows = run(options, lambda session: list_jobs(session.caller(), session.service, dag))
    show(options, rows, lambda rows: _table(rows) if rows else nothing_deployed(options))


def _table(rows: list[JobRow]) -> RenderableType:
    table = empty_table(
        "job|", "dag", "kind|", "operator|", "inputs", "outputs", "unfinished tasks"
    )
    for row in rows:
        table.add_row(
            row.name,
            row.dag,
            _kind(row),
            row.operator,
            some(row.inputs, 3),
            some(row.outputs, 3),
            _tasks(row),
        )
    return table


def _tasks(row: JobRow) -> Text:
    counts = counts_text(row.tasks, UNFINISHED_STATUSES)
    return Text.assemble(("paused  ", "bold yellow"), counts) if row.pause else counts


def _kind(row: JobRow) -> str:
    return row.activation if row.activation != "reactive" else row.strategy
