"""`knockon forget`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.commands._table_options import SourceUrl
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.service.commands.attachments import forget_reader
from engine.wording import counted

app = typer.Typer(add_completion=False)


@app.command()
@command
def forget(
    options: GlobalOptions,
    reader: Annotated[str, typer.Argument(help="Name of the consumer, from 'knockon doctor'.")],
    source_url: SourceUrl = None,
) -> None:
    """Drop a retired consumer's claim on a source's change log.

    A consumer that returns treats every attached dataset as changed.
    """
    forgotten = run(
        options,
        lambda session: forget_reader(
            session.caller(), session.service, reader, source_url=source_url
        ),
    )
    text = f" is forgotten, {counted(forgotten.trimmed, 'change')} deleted"
    show(options, forgotten, lambda _: Text.assemble((reader, "bold"), text))
