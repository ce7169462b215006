"""`knockon reject`."""

import typer

from engine.cli.call import Call, command
from engine.cli.decided import By, Plans, decide, decisions
from engine.cli.output import show
from engine.cli.session import run
from engine.flow.approve import reject as reject_plan

app = typer.Typer(add_completion=False)


@app.command()
@command
def reject(call: Call, plans: Plans, by: By = None) -> None:
    """Have nothing run for plans that are held; what they would have made stays stale.

    A later change of the same is planned as ever.
    """
    show(call, run(call, lambda session: decide(session, reject_plan, plans, by)), decisions)
