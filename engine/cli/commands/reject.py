"""`knockon reject`."""

import typer

from engine.cli.commands._decisions import By, Plans, decisions
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.service.commands.plans import reject as reject_plans

app = typer.Typer(add_completion=False)


@app.command()
@command
def reject(options: GlobalOptions, plans: Plans, by: By = None) -> None:
    """Reject plans pending approval: nothing runs, and affected partitions stay stale.

    Later changes of the same partitions are planned as usual. A rejected deploy changes nothing.
    """
    reviews = run(options, lambda session: reject_plans(session.caller(by), session.service, plans))
    show(options, reviews, decisions)
