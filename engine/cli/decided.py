"""What `knockon approve` and `knockon reject` have in common: a word on each of some plans."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.api.plans import plan_id
from engine.cli.output import counted, short
from engine.cli.planned import difference_texts
from engine.cli.session import Session
from engine.flow.approve import Decision
from engine.flow.scene import Scene
from engine.store.database import Connection

Verb = Callable[[Connection, Scene, UUID, str | None], Awaitable[Decision]]
Plans = Annotated[
    list[str], typer.Argument(help="Ids of the plans, or the last characters.", metavar="PLAN")
]
By = Annotated[
    str | None, typer.Option("--by", envvar="USER", help="Person who decides; default: $USER.")
]


async def decide(session: Session, verb: Verb, plans: list[str], by: str | None) -> list[Decision]:
    """Decide on each plan; ids that name none are refused before any is decided on."""
    async with session.connection() as conn:
        ids = [await plan_id(conn, session.scene, each) for each in plans]
        return [await verb(conn, session.scene, each, by) for each in ids]


def decisions(done: list[Decision]) -> RenderableType:
    """A line for each plan, and below it how what runs differs from what was held."""
    return Group(
        *(part for each in done for part in (_line(each), *difference_texts(each.changes)))
    )


def _line(done: Decision) -> Text:
    text = Text(f"plan {short(done.plan_id)} is {done.state}{'' if done.is_new else ' already'}")
    if done.state == "applied" and done.is_new:
        text.append(f": {counted(done.tasks, 'task')}", "bold")
    if done.changes:
        text.append("; it is not what was held:", "yellow")
    return text
