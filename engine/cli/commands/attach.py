"""`knockon attach`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.commands._table_options import SourceUrl, Table
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.errors import InvalidInput
from engine.service.commands.attachments import attach as attach_table

app = typer.Typer(add_completion=False)


@app.command()
@command
def attach(
    options: GlobalOptions,
    table: Table,
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Dataset the table represents.")],
    partition: Annotated[
        list[str] | None,
        typer.Option(
            "--partition",
            help="Column of a dimension, if named differently; repeatable.",
            metavar="DIMENSION=COLUMN",
        ),
    ] = None,
    source_url: SourceUrl = None,
    announce: Annotated[
        bool,
        typer.Option(
            "--announce/--no-announce", help="Also log all partitions with rows in the table."
        ),
    ] = True,
) -> None:
    """Capture changes of a PostgreSQL table as changes of a deployed dataset.

    Triggers on the table log the changes of every writer. Safe to repeat: attach again after the
    dataset's partitioning or the table's columns have changed.
    """
    columns = dict(_pair(text) for text in partition or ())
    attachment = run(
        options,
        lambda session: attach_table(
            session.caller(),
            session.service,
            table,
            dataset,
            columns=columns,
            source_url=source_url,
            announce=announce,
        ),
    )
    text = Text.assemble((table, "bold"), " is captured as ", (dataset, "bold"))
    show(options, attachment, lambda _: text)


def _pair(text: str) -> tuple[str, str]:
    dimension, separator, column = text.partition("=")
    if not (dimension and separator and column):
        raise InvalidInput(f"--partition {text!r}: write DIMENSION=COLUMN, like dt=departed_at")
    return dimension, column
