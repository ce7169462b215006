"""`knockon forget`."""

from typing import Annotated

import typer
from rich.text import Text

from consumers.postgres.readers import forget as forget_reader
from engine.cli.call import Call, command
from engine.cli.output import counted, show
from engine.cli.session import Session, run
from engine.cli.source import SourceUrl, source_of

app = typer.Typer(add_completion=False)


@app.command()
@command
def forget(
    call: Call,
    reader: Annotated[str, typer.Argument(help="Name of the consumer, from 'knockon doctor'.")],
    source_url: SourceUrl = None,
) -> None:
    """Drop a retired consumer's claim on a source's change log.

    A consumer that returns treats every attached dataset as changed.
    """

    async def work(session: Session) -> int:
        async with source_of(session, source_url) as source:
            return await forget_reader(source, reader)

    trimmed = run(call, work)
    done = {"reader": reader, "trimmed": trimmed}
    text = f" is forgotten, {counted(trimmed, 'change')} went"
    show(call, done, lambda _: Text.assemble((reader, "bold"), text))
