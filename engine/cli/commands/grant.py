"""`knockon grant`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.call import Call, command
from engine.cli.output import show
from engine.cli.session import Session, run
from engine.store.grants import Access, grant_to_org, parse_grant

app = typer.Typer(add_completion=False)
Object = Annotated[
    str, typer.Argument(help="Table, as schema.name; with create, a schema.", metavar="TABLE")
]


@app.command()
@command
def grant(
    call: Call,
    grantee: Annotated[str, typer.Argument(help="Org of the SQL jobs.", metavar="ORG")],
    table: Object,
    access: Annotated[Access, typer.Argument(help="read, write, or create tables in the schema.")],
) -> None:
    """Grant the SQL jobs of an org access to a table."""

    async def work(session: Session) -> None:
        async with session.database.transaction() as conn:
            await grant_to_org(conn, grantee, parse_grant(table, access))

    run(call, work)
    done = {"org": grantee, "table": table, "access": access}
    text = Text.assemble("SQL jobs of ", (grantee, "bold"), f" may {access} ", (table, "bold"))
    show(call, done, lambda _: text)
