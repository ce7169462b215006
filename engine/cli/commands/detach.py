"""`knockon detach`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.call import Call, command
from engine.cli.output import show
from engine.cli.session import run
from engine.cli.source import SourceUrl, Table
from engine.service.commands.attachments import detach as detach_table

app = typer.Typer(add_completion=False)


@app.command()
@command
def detach(
    call: Call,
    table: Table,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Dataset the table represents.")],
    source_url: SourceUrl = None,
) -> None:
    """Stop capturing changes of a table; changes captured before are still ingested."""
    run(
        call,
        lambda session: detach_table(
            session.caller(), session.service, table, dataset, source_url=source_url
        ),
    )
    done = {"table": table, "dataset": dataset}
    show(call, done, lambda _: Text.assemble((table, "bold"), " is captured no more"))
