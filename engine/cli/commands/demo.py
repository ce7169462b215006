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
        int, typer.Option("--days", min=31, max=365, help="Load only the first days of the year.")
    ] = 365,
) -> None:
    """See a year of flights recomputed, change by change, on servers made for it and then gone.

    `knockon up --demo` leaves it there to play with.
    """
    raise typer.Exit(play(settings_of(call), console(), days))
