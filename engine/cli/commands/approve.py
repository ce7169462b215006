"""`knockon approve`."""

from typing import Annotated

import typer

from engine.cli.call import Call, command
from engine.cli.decided import By, Plans, decide, decisions
from engine.cli.output import show
from engine.cli.session import Session, run
from engine.cli.waiting import wait_for
from engine.flow.approve import Decision
from engine.flow.approve import approve as approve_plan

app = typer.Typer(add_completion=False)


@app.command()
@command
def approve(
    call: Call,
    plans: Plans,
    by: By = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when everything is recomputed.")
    ] = False,
) -> None:
    """Approve plans pending approval.

    The invalidations of each plan are planned again in the current state; differences from the held
    plan are printed.
    """

    async def work(session: Session) -> list[Decision]:
        done = await decide(session, approve_plan, plans, by)
        if wait:
            await wait_for(session, [fact for each in done for fact in each.invalidations])
        return done

    show(call, run(call, work), decisions)
