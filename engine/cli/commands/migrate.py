"""`knockon migrate`."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import database_url, load_settings
from engine.store.database import display_url
from engine.store.migrate import migrate as apply_migrations

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class _Migrated:
    database: str
    applied: list[str]


@app.command()
@command
def migrate(
    options: GlobalOptions,
    grants_from_dag_files: Annotated[
        bool,
        typer.Option(help="Grant SQL jobs of the default org the tables named in its DAG files."),
    ] = False,
) -> None:
    """Upgrade the database schema. Safe to repeat, and to run concurrently."""
    with database_url(load_settings(options)) as url:
        applying = apply_migrations(url, grants_named_tables=grants_from_dag_files)
        done = _Migrated(display_url(url), asyncio.run(applying))
    show(options, done, _text)


def _text(done: _Migrated) -> Text:
    if not done.applied:
        return Text("The schema is up to date.")
    return Text("\n").join(Text.assemble(("applied ", "green"), name) for name in done.applied)
