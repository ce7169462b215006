"""`knockon logs`."""

import re
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.attempts import attempt_text
from engine.cli.render.console import show
from engine.cli.render.elements import status_text
from engine.cli.runtime.session import run
from engine.service.queries.attempts import TaskLog, task_log
from engine.wording import some

_COLOR = re.compile("\x1b\\[[0-9;]*m")
_MOST_LISTED = 4
app = typer.Typer(add_completion=False)


@app.command()
@command
def logs(
    options: GlobalOptions,
    task: Annotated[
        str, typer.Argument(help="Id of the task, or the last characters.", metavar="TASK")
    ],
    attempt: Annotated[
        int | None, typer.Option("--attempt", "-a", min=1, help="Number of the only attempt.")
    ] = None,
) -> None:
    """Show the attempts at a task, with errors and the end of their output."""
    view = run(options, lambda session: task_log(session.caller(), session.service, task, attempt))
    show(options, view, _log)


def _log(view: TaskLog) -> RenderableType:
    name = f"{view.dag_name}.{view.job}"
    head = Text.assemble((name, "bold"), "  ", status_text(view.status))
    head.append(f"  {some(view.partitions, _MOST_LISTED)}", "dim")
    return Group(head, *_attempts(view))


def _attempts(view: TaskLog) -> Iterator[Text]:
    if not view.attempts:
        yield Text("no attempts are recorded", "dim")
    for attempt in view.attempts:
        yield Text("\n").append(attempt_text(attempt))
        if attempt.error_message:
            yield Text(attempt.error_message.rstrip(), "red")
        if log := _COLOR.sub("", attempt.log).rstrip():
            yield Text(log)
