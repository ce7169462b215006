"""`knockon psql`."""

import shutil
import subprocess
from typing import Annotated

import typer

from engine.cli.call import Call, command
from engine.cli.session import database_url, settings_of
from engine.embedded.postgres import program

app = typer.Typer(add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@command
def psql(
    call: Call,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="What psql is given besides: -c SQL, -f FILE, …")
    ] = None,
) -> None:
    """Open psql on the database; the embedded one brings it along."""
    with database_url(settings_of(call)) as url:
        found = shutil.which("psql") or program("psql")
        line = [found, url, *(arguments or [])]
        # No shell reads the line, and whoever wrote it may do all that psql can anyway.
        raise typer.Exit(subprocess.run(line, check=False).returncode)  # noqa: S603
