"""Arguments and output that `knockon approve` and `knockon reject` share."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.render.elements import short
from engine.cli.render.plan import difference_texts
from engine.service.commands.plans import Review
from engine.wording import counted

Plans = Annotated[
    list[str], typer.Argument(help="Ids of the plans, or the last characters.", metavar="PLAN")
]
By = Annotated[
    str | None, typer.Option("--by", envvar="USER", help="Person who decides; default: $USER.")
]


def decisions(done: list[Review]) -> RenderableType:
    """A line for each plan, and below it how what runs differs from what was held."""
    return Group(
        *(part for each in done for part in (_line(each), *difference_texts(each.changes)))
    )


def _line(done: Review) -> Text:
    text = Text(f"plan {short(done.plan_id)} is {done.state}{'' if done.is_new else ' already'}")
    if done.state == "applied" and done.is_new:
        text.append(f": {counted(done.tasks, 'task')}", "bold")
    if done.changes:
        text.append("; it is not what was held:", "yellow")
    return text
