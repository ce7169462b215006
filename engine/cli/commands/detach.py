"""`knockon detach`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.commands._table_options import SourceUrl, Table
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.service.commands.attachments import detach as detach_table

app = typer.Typer(add_completion=False)


@app.command()
@command
def detach(
    options: GlobalOptions,
    table: Table,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Dataset the table represents.")],
    source_url: SourceUrl = None,
) -> None:
    """Stop capturing changes of a table; changes captured before are still ingested."""
    run(
        options,
        lambda session: detach_table(
            session.caller(), session.service, table, dataset, source_url=source_url
        ),
    )
    detached = {"table": table, "dataset": dataset}
    show(options, detached, lambda _: Text.assemble((table, "bold"), " is no longer captured"))
