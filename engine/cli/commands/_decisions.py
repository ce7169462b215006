"""Arguments and output shared by commands that record a decision."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.render.elements import short
from engine.cli.render.plan import difference_texts
from engine.model.states import PauseKind, PlanState
from engine.service.commands.plans import Review
from engine.wording import counted

Plans = Annotated[
    list[str], typer.Argument(help="Ids of the plans, or the last characters.", metavar="PLAN")
]
By = Annotated[
    str | None, typer.Option("--by", envvar="USER", help="Person who decides; default: $USER.")
]

PauseSubject = Annotated[PauseKind, typer.Argument(help="Kind of the subject.", metavar="KIND")]
PauseName = Annotated[
    str | None,
    typer.Argument(help="Job (JOB or DAG.JOB) or dataset; none for the org.", metavar="[NAME]"),
]


def decisions(reviews: list[Review]) -> RenderableType:
    """A line for each plan, followed by differences between the stored and the executed plan."""
    return Group(
        *(
            line
            for review in reviews
            for line in (_summary(review), *difference_texts(review.changes))
        )
    )


def _summary(review: Review) -> Text:
    already = "" if review.is_new else " already"
    text = Text(f"plan {short(review.plan_id)} is{already} {review.state}")
    if review.state == PlanState.APPLIED and review.is_new:
        text.append(f": {counted(review.tasks, 'task')}", "bold")
    if review.changes:
        text.append("; different from the plan pending approval:", "yellow")
    return text
