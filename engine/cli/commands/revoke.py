"""`knockon revoke`."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from engine.cli.call import Call, command
from engine.cli.commands.grant import Object
from engine.cli.output import show
from engine.cli.session import Session, run
from engine.errors import InvalidInput
from engine.store.grants import Access, parse_grant, revoke_from_org

app = typer.Typer(add_completion=False)


@app.command()
@command
def revoke(
    call: Call,
    grantee: Annotated[str, typer.Argument(help="Org of the SQL jobs.", metavar="ORG")],
    table: Object,
    access: Annotated[
        Access, typer.Argument(help="write; create; or read, which revokes all access to a table.")
    ] = "read",
) -> None:
    """Revoke access to a table from the SQL jobs of an org."""

    async def work(session: Session) -> Sequence[str]:
        async with session.database.transaction() as conn:
            return await revoke_from_org(conn, grantee, parse_grant(table, access))

    if remaining := run(call, work):
        raise InvalidInput(
            f"what was granted is revoked, but SQL jobs of {grantee} still have rights to {table}: "
            f"{'; '.join(remaining)}. Revoke that in SQL, or change the owner"
        )
    done = {"org": grantee, "table": table, "access": access}
    text = Text.assemble("SQL jobs of ", (grantee, "bold"), f" may not {access} ", (table, "bold"))
    show(call, done, lambda _: text)
