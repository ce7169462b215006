"""`knockon pause`."""

from typing import Annotated

import typer
from rich.text import Text

from engine.cli.commands._decisions import By, PauseName, PauseSubject
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.service.commands.pauses import RequestedPause
from engine.service.commands.pauses import pause as pause_subject

app = typer.Typer(add_completion=False)


@app.command()
@command
def pause(
    options: GlobalOptions,
    kind: PauseSubject,
    name: PauseName = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Reason, shown with the paused work.")
    ] = None,
    by: By = None,
) -> None:
    """Pause a job, a dataset, or the org, until 'knockon resume'.

    Tasks of a paused job are planned, but not started; running tasks continue. Changes of a paused
    dataset, or of all datasets of a paused org, are gathered, but not planned. A repeated pause
    changes nothing.
    """
    row = run(
        options,
        lambda session: pause_subject(
            session.caller(by), session.service, kind, name, reason=reason
        ),
    )
    show(options, row, _text)


def _text(pause: RequestedPause) -> Text:
    if pause.is_new:
        return Text(str(pause))
    return Text(f"{pause.subject} is already paused {pause.origin}", "yellow")
