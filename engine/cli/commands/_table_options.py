"""Arguments of commands for source tables."""

from typing import Annotated

import typer

SourceUrl = Annotated[
    str | None,
    typer.Option(
        "--source-url",
        help="PostgreSQL address of the table; default: KNOCKON_SOURCE_URL, else Knockon's own.",
    ),
]
Table = Annotated[str, typer.Argument(help="Table, named as in SQL: raw.flights.", metavar="TABLE")]
