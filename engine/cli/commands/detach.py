"""`knockon detach`."""

from typing import Annotated

import typer
from rich.text import Text

from consumers.postgres.attach import detach as detach_table
from engine.cli.call import Call, command
from engine.cli.output import show
from engine.cli.session import Session, run
from engine.cli.source import SourceUrl, Table, source_of
from engine.cli.wiring import tenant_of

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

    async def work(session: Session) -> None:
        async with source_of(session, source_url) as source:
            await detach_table(source, tenant_of(session), table, dataset)

    run(call, work)
    done = {"table": table, "dataset": dataset}
    show(call, done, lambda _: Text.assemble((table, "bold"), " is captured no more"))
