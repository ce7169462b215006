"""`knockon apply`."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import short
from engine.cli.render.plan import difference_texts
from engine.cli.runtime.session import Session, run
from engine.cli.runtime.wait import Timeout, Wait, wait_for
from engine.service.commands.plans import Applied
from engine.service.commands.plans import apply as apply_plan
from engine.wording import counted

app = typer.Typer(add_completion=False)


@app.command()
@command
def apply(
    options: GlobalOptions,
    plan: Annotated[
        str, typer.Argument(help="Id of the plan, or the last characters.", metavar="PLAN")
    ],
    by: By = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> None:
    """Run a plan previewed with 'knockon impact' exactly as shown, once.

    If the change would now run anything else, print the differences, write nothing and exit with 1;
    run 'knockon impact' again for a new plan.
    """

    async def work(session: Session) -> Applied:
        applied = await apply_plan(session.caller(by), session.service, plan)
        show(options, applied, _report)
        if wait and not applied.changes:
            await wait_for(session, applied.invalidations, timeout)
        return applied

    if run(options, work).changes:
        raise typer.Exit(1)


def _report(applied: Applied) -> RenderableType:
    name = f"plan {short(applied.plan_id)}"
    if applied.changes:
        head = Text(f"{name} would run differently now; nothing was written", "bold yellow")
        return Group(head, *difference_texts(applied.changes))
    if not applied.is_new:
        return Text(f"{name} is already applied")
    return Text.assemble(f"{name} is applied: ", (counted(applied.tasks, "task"), "bold"))
