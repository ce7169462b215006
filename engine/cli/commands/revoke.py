"""`knockon revoke`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.commands.grant import TableOrSchema
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.errors import InvalidInput
from engine.service.commands.grants import Access
from engine.service.commands.grants import revoke as revoke_table

app = typer.Typer(add_completion=False)


@app.command()
@command
def revoke(
    options: GlobalOptions,
    grantee: Annotated[str, typer.Argument(help="Org of the SQL jobs.", metavar="ORG")],
    table: TableOrSchema,
    access: Annotated[
        Access, typer.Argument(help="write; create; or read, which revokes all access to a table.")
    ] = "read",
) -> None:
    """Revoke access to a table from the SQL jobs of an org."""
    remaining = run(
        options,
        lambda session: revoke_table(session.caller(), session.service, grantee, table, access),
    )
    if remaining:
        raise InvalidInput(
            f"revoked Knockon's grants, but SQL jobs of {grantee} still have rights to {table}: "
            f"{'; '.join(remaining)}; revoke them in SQL, or change the owner"
        )
    revoked = {"org": grantee, "table": table, "access": access}
    text = Text.assemble(
        "SQL jobs of ", (grantee, "bold"), f" may no longer {access} ", (table, "bold")
    )
    show(options, revoked, lambda _: text)
