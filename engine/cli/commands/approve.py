"""`knockon approve`."""

import typer

from engine.cli.commands._decisions import By, Plans, decisions
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import Session, run
from engine.cli.runtime.wait import Timeout, Wait, wait_for
from engine.service.commands.plans import approve as approve_plans

app = typer.Typer(add_completion=False)


@app.command()
@command
def approve(
    options: GlobalOptions,
    plans: Plans,
    by: By = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Approve plans pending approval.

    Each plan is made again in the current state, and differences from the plan pending approval are
    printed. The plan of a deploy deploys its files.
    """

    async def work(session: Session) -> None:
        reviews = await approve_plans(session.caller(by), session.service, plans)
        show(options, reviews, decisions)
        if wait:
            ids = [id_ for review in reviews for id_ in review.invalidations]
            await wait_for(session, ids, timeout)

    run(options, work)
