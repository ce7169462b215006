"""`knockon resume`."""

import typer
from rich.text import Text

from engine.cli.commands._decisions import PauseName, PauseSubject
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.service.commands.pauses import resume as resume_subject

app = typer.Typer(add_completion=False)


@app.command()
@command
def resume(options: GlobalOptions, kind: PauseSubject, name: PauseName = None) -> None:
    """Resume a paused job, dataset or org; the work gathered meanwhile continues."""
    row = run(
        options, lambda session: resume_subject(session.caller(), session.service, kind, name)
    )
    show(options, row, lambda row: Text(f"{row.subject} is resumed"))
