"""`knockon datasets`."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.commands._empty import nothing_deployed
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import empty_table
from engine.cli.runtime.session import run
from engine.service.queries.datasets import DatasetRow
from engine.service.queries.datasets import datasets as list_datasets
from engine.wording import some

app = typer.Typer(add_completion=False)


@app.command()
@command
def datasets(
    options: GlobalOptions,
    dag: Annotated[str | None, typer.Option("--dag", "-d", help="DAG of the datasets.")] = None,
) -> None:
    """List datasets, each after the datasets upstream, with producers and readers."""
    rows = run(options, lambda session: list_datasets(session.caller(), session.service, dag))
    show(options, rows, lambda rows: _table(rows) if rows else nothing_deployed(options))


def _table(rows: list[DatasetRow]) -> RenderableType:
    table = empty_table("dataset|", "dag", "job", "partitions by", "columns", "read by")
    for row in rows:
        name = Text(row.name, "cyan" if row.is_source else "")
        columns = "unknown" if row.columns is None else some(row.columns, 3)
        by = row.partitioning or "not partitioned"
        if row.pause:
            name.append("  paused", "bold yellow")
        table.add_row(name, row.dag, row.job, by, columns, some(row.readers, 3))
    return table
