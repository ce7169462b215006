"""`knockon migrate`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import database_url, load_settings
from engine.service.errors import database_errors
from engine.store.addresses import display_url
from engine.store.database import require_addresses, set_role_settings
from engine.store.migrate import CONNECT_SECONDS, PATIENCE_SECONDS, pending_migrations
from engine.store.migrate import migrate as apply_migrations
from engine.store.migration_files import Migration, TableLock

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class _Pending:
    migration: str
    in_transaction: bool
    locks: Sequence[TableLock]
    oldest_code: int | None

    @staticmethod
    def of(migration: Migration) -> "_Pending":
        return _Pending(
            str(migration), migration.in_transaction, migration.locks, migration.oldest_code
        )


@dataclass(frozen=True)
class _Preview:
    database: str
    pending: Sequence[_Pending]


@dataclass(frozen=True)
class _Migrated:
    database: str
    applied: list[str]


@app.command()
@command
def migrate(
    options: GlobalOptions,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List pending migrations and their locks, and change nothing."
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0,
            metavar="SECONDS",
            help="How long each migration waits for locks, and for older processes to stop.",
        ),
    ] = PATIENCE_SECONDS,
    grants_from_dag_files: Annotated[
        bool,
        typer.Option(help="Grant SQL jobs of the default org the tables named in its DAG files."),
    ] = False,
) -> None:
    """Upgrade the database schema. Safe to repeat, and to run concurrently.

    Waits up to a minute for an unavailable database.
    """
    settings = load_settings(options, quiet=False)
    with database_errors(), database_url(settings) as pooled:
        url = settings.direct_url or pooled
        database = display_url(url)
        asyncio.run(require_addresses(pooled, settings.direct_url, CONNECT_SECONDS))
        if dry_run:
            pending = asyncio.run(pending_migrations(url))
            show(
                options, _Preview(database, [_Pending.of(each) for each in pending]), _preview_text
            )
            return
        applying = apply_migrations(
            url, grants_named_tables=grants_from_dag_files, patience=timeout
        )
        done = _Migrated(database, asyncio.run(applying))
        if settings.direct_url is not None:
            asyncio.run(set_role_settings(pooled, settings.direct_url))
    show(options, done, _text)


def _preview_text(preview: _Preview) -> Text:
    if not preview.pending:
        return Text("The schema is up to date.")
    return Text("\n").join(_pending_text(pending) for pending in preview.pending)


def _pending_text(pending: _Pending) -> Text:
    where = "in a transaction" if pending.in_transaction else "outside a transaction"
    locks = ", ".join(f"{lock.table} ({lock.mode})" for lock in pending.locks)
    parts = [where, f"locks {locks}" if locks else "locks no existing table"]
    if pending.oldest_code is not None:
        parts.append(f"stops processes older than {pending.oldest_code:04}")
    return Text.assemble(("pending ", "yellow"), f"{pending.migration}: {'; '.join(parts)}")


def _text(done: _Migrated) -> Text:
    if not done.applied:
        return Text("The schema is up to date.")
    return Text("\n").join(Text.assemble(("applied ", "green"), each) for each in done.applied)
