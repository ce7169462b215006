"""`knockon demo`."""

from typing import Annotated

import typer

from engine.cli.demo.demo import demo as run_demo
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import console
from engine.cli.runtime.session import load_settings

app = typer.Typer(add_completion=False)


@app.command()
@command
def demo(
    options: GlobalOptions,
    days: Annotated[
        int, typer.Option("--days", min=31, max=365, help="Days of the year to load.")
    ] = 365,
) -> None:
    """Recompute a year of flights, change by change, on temporary servers.

    `knockon up --demo` keeps the result for exploration.
    """
    raise typer.Exit(run_demo(load_settings(options), console(), days))
