"""`knockon users`: list, add and remove users, and change their roles."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import ago, compact, empty_table
from engine.cli.runtime.session import run
from engine.model.states import Role
from engine.service.commands import users as commands
from engine.service.queries.identity import AccessChange, User, access_changes
from engine.service.queries.identity import users as list_users

app = typer.Typer(add_completion=False, invoke_without_command=True)
_User = Annotated[
    str, typer.Argument(help="E-mail address of the user, or external id.", metavar="USER")
]
_Role = Annotated[Role, typer.Argument(help="Role, with the rights of those before it.")]


@app.callback()
@command
def users(options: GlobalOptions) -> None:
    """List the users of the org; subcommands add and remove users, and change roles."""
    view = run(options, lambda session: list_users(session.caller(), session.service))
    show(options, view, _users_table)


@app.command()
@command
def add(
    options: GlobalOptions,
    email: Annotated[str, typer.Argument(help="E-mail address.", metavar="EMAIL")],
    role: _Role,
    issuer: Annotated[
        str | None, typer.Option("--issuer", help="Issuer of the person's OIDC tokens.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Subject of the tokens, unique in the issuer.")
    ] = None,
    by: By = None,
) -> None:
    """Add a person to the org."""
    added = run(
        options,
        lambda session: commands.add_user(
            session.caller(by), session.service, email, role, issuer=issuer, subject=subject
        ),
    )
    show(options, added, lambda user: Text(f"{user.email} has the role {user.role} in the org"))


@app.command("set-role")
@command
def set_role(options: GlobalOptions, user: _User, role: _Role, by: By = None) -> None:
    """Give a user another role, at once for all keys of the user as well."""
    changed = run(
        options,
        lambda session: commands.set_user_role(session.caller(by), session.service, user, role),
    )
    show(options, changed, lambda user: Text(f"{user.email} has the role {user.role} in the org"))


@app.command()
@command
def remove(options: GlobalOptions, user: _User, by: By = None) -> None:
    """Remove a user, with keys, sessions and memberships; records keep the name."""
    removed = run(
        options, lambda session: commands.remove_user(session.caller(by), session.service, user)
    )
    show(options, removed, lambda user: Text(f"{user.email} is no longer a user of the org"))


@app.command()
@command
def changes(
    options: GlobalOptions,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Maximum number.")] = 50,
) -> None:
    """List changes of users, roles, keys and settings of the org, newest first."""
    rows = run(options, lambda session: access_changes(session.caller(), session.service, limit))
    show(options, rows, _changes_table)


def _users_table(users: list[User]) -> RenderableType:
    if not users:
        return Text("no users: knockon users add EMAIL ROLE", "dim")
    table = empty_table("user|", "role|", "roles of the org", "id")
    for user in users:
        external_id = user.external_id.partition(":")[2]
        role = user.role if user.suspended_at is None else Text("suspended", "yellow")
        table.add_row(user.email, role, ", ".join(user.org_roles), external_id)
    return table


def _changes_table(rows: list[AccessChange]) -> RenderableType:
    if not rows:
        return Text("no changes", "dim")
    table = empty_table("change|", "subject", "age|", "by", "before", "after")
    for row in rows:
        before = "" if row.before is None else compact(row.before)
        after = "" if row.after is None else compact(row.after)
        by = row.actor or ""
        table.add_row(row.change, row.subject, ago(row.changed_at), by, before, after)
    return Group(table)
