"""`knockon demo`."""

from typing import Annotated

import typer

from engine.cli.call import Call, command
from engine.cli.demo.demo import demo as play
from engine.cli.output import console
from engine.cli.session import settings_of

app = typer.Typer(add_completion=False)


@app.command()
@command
def demo(
    call: Call,
    days: Annotated[
        int, typer.Option("--days", min=31, max=365, help="Days of the year to load.")
    ] = 365,
) -> None:
    """Recompute a year of flights, change by change, on temporary servers.

    `knockon up --demo` keeps the result for exploration.
    """
    raise typer.Exit(play(settings_of(call), console(), days))
