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
    wait: Annotated[bool, typer.Option("--wait", help="Return when all is recomputed.")] = False,
) -> None:
    """Let plans run that are held for approval.

    What was found stale is planned again, as things are now; where that comes to anything else than
    what was held, it says what.
    """

    async def work(session: Session) -> list[Decision]:
        done = await decide(session, approve_plan, plans, by)
        if wait:
            await wait_for(session, [fact for each in done for fact in each.invalidations])
        return done

    show(call, run(call, work), decisions)
