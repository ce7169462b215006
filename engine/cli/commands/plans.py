"""`knockon plans`."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.api.plans import PlanRow
from engine.api.plans import plans as list_plans
from engine.cli.call import Call, command
from engine.cli.output import ago, short, show, some, table
from engine.cli.planned import estimate_text
from engine.cli.session import Session, run

app = typer.Typer(add_completion=False)


class State(StrEnum):
    """What a plan may be in."""

    proposed = "proposed"
    held = "held"
    applied = "applied"
    rejected = "rejected"


@app.command()
@command
def plans(
    call: Call,
    state: Annotated[
        list[State] | None, typer.Option("--state", "-s", help="Only these; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 50,
) -> None:
    """List plans, the newest first: what was decided, or waits to be."""

    async def work(session: Session) -> list[PlanRow]:
        states = [each.value for each in state] if state else None
        async with session.connection() as conn:
            return await list_plans(conn, session.scene, states=states, limit=limit)

    show(call, run(call, work), _listed)


def _listed(rows: list[PlanRow]) -> RenderableType:
    if not rows:
        return Text("no such plans", "dim")
    made = table("plan", "state", "change of", "jobs>", "tasks>", "age", "note")
    for each in rows:
        counts = (f"{each.jobs:,}", f"{each.tasks:,}")
        datasets, age = some(each.datasets), ago(each.created_at)
        made.add_row(short(each.id), each.state, datasets, *counts, age, Text(_note(each), "dim"))
    return made


def _note(row: PlanRow) -> str:
    if row.decided_by:
        return f"by {row.decided_by} {ago(row.decided_at)}"
    return "\n".join(filter(None, (*row.held_by, estimate_text(row.estimate))))
