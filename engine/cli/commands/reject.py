"""`knockon reject`."""

import typer

from engine.cli.call import Call, command
from engine.cli.decided import By, Plans, decisions
from engine.cli.output import show
from engine.cli.session import run
from engine.service.commands.plans import reject as reject_plans

app = typer.Typer(add_completion=False)


@app.command()
@command
def reject(call: Call, plans: Plans, by: By = None) -> None:
    """Reject plans pending approval: nothing runs, and affected partitions stay stale.

    Later changes of the same partitions are planned as usual.
    """
    done = run(call, lambda session: reject_plans(session.caller(by), session.service, plans))
    show(call, done, decisions)
