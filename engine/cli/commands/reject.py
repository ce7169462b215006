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
    """Reject plans pending approval: nothing runs, and affected partitions stay stale.

    Later changes of the same partitions are planned as usual.
    """
    show(call, run(call, lambda session: decide(session, reject_plan, plans, by)), decisions)
