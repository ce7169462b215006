"""`knockon stale`."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.commands.audit import reason_text
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import ago, empty_table
from engine.cli.runtime.session import run
from engine.service.queries.stale import StaleRow
from engine.service.queries.stale import stale as list_stale

app = typer.Typer(add_completion=False)


@app.command()
@command
def stale(
    options: GlobalOptions,
    dataset: Annotated[
        str | None, typer.Argument(help="Dataset; default: all.", metavar="[DATASET]")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Maximum number of partitions to list.")
    ] = 50,
) -> None:
    """List stale partitions, root causes first, with the pending work or the decision.

    A stale partition is in hand if a task or an unplanned invalidation leads to it, left after a
    decision or a limit, and lost otherwise: see `knockon audit`.
    """
    rows = run(
        options, lambda session: list_stale(session.caller(), session.service, dataset, limit)
    )
    show(options, rows, _table)


def _table(rows: list[StaleRow]) -> RenderableType:
    if not rows:
        return Text("no partition is stale", "green")
    table = empty_table("dataset", "partition", "since|", "stale because", "verdict", "because")
    for row in rows:
        reasons = "\n".join(map(reason_text, row.reasons[:3]))
        table.add_row(
            row.dataset, row.partition, ago(row.since), reasons, row.verdict, row.explained_by or ""
        )
    return table
