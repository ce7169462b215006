"""`knockon demo`."""

import typer

from engine.cli.call import Call, command
from engine.cli.demo.demo import demo as play
from engine.cli.output import console
from engine.cli.session import settings_of

app = typer.Typer(add_completion=False)


@app.command()
@command
def demo(call: Call) -> None:
    """See a year of flights recomputed, change by change, on servers made for it and then gone.

    `knockon up --demo` leaves it there to play with.
    """
    raise typer.Exit(play(settings_of(call), console()))
