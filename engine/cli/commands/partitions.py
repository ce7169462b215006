"""`knockon partitions`."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import empty_table
from engine.cli.runtime.session import run
from engine.service.queries.partition_states import StateRow, partition_states
from engine.wording import some

app = typer.Typer(add_completion=False)
_MOST_LISTED = 20


@app.command()
@command
def partitions(
    options: GlobalOptions,
    dataset: Annotated[str, typer.Argument(help="Dataset.", metavar="DATASET")],
) -> None:
    """Show the states of a dataset's partitions, as ranges of keys.

    A missing partition has inputs, but has not been built, and no task builds it.
    """
    rows = run(
        options, lambda session: partition_states(session.caller(), session.service, dataset)
    )
    show(options, rows, _table)


def _table(rows: list[StateRow]) -> RenderableType:
    if not rows:
        return Text("no partitions yet", "dim")
    table = empty_table("state|", "number>", "partitions")
    for row in rows:
        table.add_row(row.state, f"{row.count:,}", some(row.partitions, _MOST_LISTED))
    return table
