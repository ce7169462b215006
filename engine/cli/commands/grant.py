"""`knockon grant`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.service.commands.grants import Access
from engine.service.commands.grants import grant as grant_table

app = typer.Typer(add_completion=False)
TableOrSchema = Annotated[
    str, typer.Argument(help="Table, as schema.name; with create, a schema.", metavar="TABLE")
]


@app.command()
@command
def grant(
    options: GlobalOptions,
    grantee: Annotated[str, typer.Argument(help="Org of the SQL jobs.", metavar="ORG")],
    table: TableOrSchema,
    access: Annotated[Access, typer.Argument(help="read, write, or create tables in the schema.")],
) -> None:
    """Grant the SQL jobs of an org access to a table."""
    granted = run(
        options,
        lambda session: grant_table(session.caller(), session.service, grantee, table, access),
    )
    text = Text.assemble("SQL jobs of ", (grantee, "bold"), f" may {access} ", (table, "bold"))
    show(options, granted, lambda _: text)
