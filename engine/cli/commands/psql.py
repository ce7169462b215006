"""`knockon psql`."""

import os
import shutil
import subprocess
from typing import Annotated, Any

import typer
from psycopg.conninfo import make_conninfo

from engine.cli.global_options import GlobalOptions, command
from engine.cli.runtime.session import database_url, load_settings, require_database
from engine.embedded.postgres import program
from engine.errors import ServiceUnavailable
from engine.settings import Settings
from engine.store.addresses import DIRECT_URL, Address

_SEARCH_PATH = "-c search_path=public,knockon"
"""Tables of the user first: if `tasks` is a dataset, Knockon's table is `knockon.tasks`."""

app = typer.Typer(add_completion=False)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@command
def psql(
    options: GlobalOptions,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Arguments for psql: -c SQL, -f FILE, …")
    ] = None,
) -> None:
    """Open psql on the database; an embedded server includes psql."""
    settings = load_settings(options)
    require_database(settings)
    with database_url(settings) as url:
        # The command line is visible to every user of the machine, the environment is not.
        parameters: dict[str, Any] = _address(settings, url).parameters()
        password = parameters.pop("password", None)
        secret = {} if password is None else {"PGPASSWORD": str(password)}
        parameters["options"] = f"{_SEARCH_PATH} {parameters.get('options') or ''}".strip()
        line = [_program(), make_conninfo(**parameters), *(arguments or [])]
        # No shell interprets the line, and the caller has all rights of psql anyway.
        result = subprocess.run(line, check=False, env=os.environ | secret)  # noqa: S603
        raise typer.Exit(result.returncode)


def _address(settings: Settings, url: str) -> Address:
    direct_url = settings.direct_url
    return Address(url) if direct_url is None else Address(direct_url, DIRECT_URL)


def _program() -> str:
    try:
        return shutil.which("psql") or program("psql")
    except ServiceUnavailable:
        raise ServiceUnavailable(
            "psql is not installed: install PostgreSQL's client or 'knockon[embedded]', or run "
            "psql next to the database (with Compose: "
            "'docker compose exec postgres psql --username postgres --dbname knockon')"
        ) from None
