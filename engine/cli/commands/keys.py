"""`knockon keys`: list, create and revoke keys of users."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import ago, empty_table
from engine.cli.runtime.session import run
from engine.errors import InvalidInput
from engine.model.dag_fields import to_seconds
from engine.model.states import KeyScope
from engine.service.commands.api_keys import CreatedKey, create_key, revoke_key
from engine.service.queries.identity import KeyRow, api_keys

app = typer.Typer(add_completion=False, invoke_without_command=True)


@app.callback()
@command
def keys(options: GlobalOptions) -> None:
    """List the keys of the org's users, newest first; subcommands create and revoke keys."""
    view = run(options, lambda session: api_keys(session.caller(), session.service))
    show(options, view, _table)


@app.command()
@command
def create(
    options: GlobalOptions,
    user: Annotated[
        str, typer.Argument(help="E-mail address of the user, or external id.", metavar="USER")
    ],
    name: Annotated[str, typer.Argument(help="Name of the key, such as the program's.")],
    scope: Annotated[
        list[KeyScope],
        typer.Option("--scope", "-s", help="Operations that the key permits; repeatable."),
    ],
    expires: Annotated[
        str | None,
        typer.Option("--expires", help="Validity; default: until revoked.", metavar="90d"),
    ] = None,
    by: By = None,
) -> None:
    """Create a key, which acts for a user within scopes, and print the key once.

    The role of the user limits the key as well. api permits all operations, read those that change
    nothing, ingest the sending of events, and worker the claim and completion of tasks.
    """
    seconds = None if expires is None else _seconds(expires)
    created = run(
        options,
        lambda session: create_key(
            session.caller(by), session.service, user, name, scope, seconds=seconds
        ),
    )
    show(options, created, _created_text, soft_wrap=True)


@app.command()
@command
def revoke(
    options: GlobalOptions,
    prefix: Annotated[str, typer.Argument(help="Prefix of the key.", metavar="PREFIX")],
    by: By = None,
) -> None:
    """Revoke a key at once."""
    name = run(options, lambda session: revoke_key(session.caller(by), session.service, prefix))
    show(options, {"revoked": prefix}, lambda _: Text(f"key {prefix} ({name}) is revoked"))


def _seconds(text: str) -> float:
    try:
        return float(to_seconds(text))
    except (ValueError, TypeError):
        raise InvalidInput(f"{text!r} is not a duration: write 90d, 12h, 10m or 90s") from None


def _created_text(created: CreatedKey) -> RenderableType:
    note = Text("the key is shown only now: store it like a password", "yellow")
    return Group(Text(created.key, "bold"), note)


def _table(rows: list[KeyRow]) -> RenderableType:
    if not rows:
        return Text("no keys: knockon keys create USER NAME --scope SCOPE", "dim")
    table = empty_table("key|", "name", "user", "scopes", "state|", "created|", "used|")
    for row in rows:
        used = ago(row.last_used_at) or "never"
        scopes = ", ".join(row.scopes)
        table.add_row(
            row.prefix, row.name, row.user, scopes, _state(row), ago(row.created_at), used
        )
    return table


def _state(row: KeyRow) -> Text:
    if row.revoked_at is not None:
        return Text("revoked", "red")
    if not row.is_valid:
        return Text("expired", "yellow")
    return Text("valid", "green")
