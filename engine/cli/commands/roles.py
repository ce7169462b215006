"""`knockon roles`: list, add and remove roles of the org, and their members."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import empty_table
from engine.cli.runtime.session import run
from engine.service.commands import org_roles as commands
from engine.service.queries.identity import OrgRole, org_roles

app = typer.Typer(add_completion=False, invoke_without_command=True)
_Slug = Annotated[str, typer.Argument(help="Slug of the role.", metavar="ROLE")]
_User = Annotated[
    str, typer.Argument(help="E-mail address of the user, or external id.", metavar="USER")
]


@app.callback()
@command
def roles(options: GlobalOptions) -> None:
    """List the roles of the org with their members; subcommands change them."""
    view = run(options, lambda session: org_roles(session.caller(), session.service))
    show(options, view, _table)


@app.command()
@command
def add(
    options: GlobalOptions,
    role: _Slug,
    name: Annotated[
        str | None, typer.Option("--name", help="Name for people; default: the slug.")
    ] = None,
    by: By = None,
) -> None:
    """Add a role without members."""
    added = run(
        options,
        lambda session: commands.add_org_role(session.caller(by), session.service, role, name),
    )
    show(options, added, lambda role: Text(f"role {role.slug} is added"))


@app.command()
@command
def remove(options: GlobalOptions, role: _Slug, by: By = None) -> None:
    """Remove a role to which no dataset is restricted."""
    removed = run(
        options, lambda session: commands.remove_org_role(session.caller(by), session.service, role)
    )
    show(options, removed, lambda role: Text(f"role {role.slug} is removed"))


@app.command()
@command
def grant(options: GlobalOptions, role: _Slug, user: _User, by: By = None) -> None:
    """Make a user a member of a role."""
    is_new = run(
        options,
        lambda session: commands.grant_org_role(session.caller(by), session.service, role, user),
    )
    text = f"{user} {'is' if is_new else 'was already'} a member of {role}"
    show(options, {"changed": is_new}, lambda _: Text(text))


@app.command()
@command
def revoke(options: GlobalOptions, role: _Slug, user: _User, by: By = None) -> None:
    """End the membership of a user in a role."""
    has_changed = run(
        options,
        lambda session: commands.revoke_org_role(session.caller(by), session.service, role, user),
    )
    text = f"{user} {'is no longer' if has_changed else 'was not'} a member of {role}"
    show(options, {"changed": has_changed}, lambda _: Text(text))


def _table(rows: list[OrgRole]) -> RenderableType:
    if not rows:
        return Text("no roles: knockon roles add ROLE", "dim")
    table = empty_table("role|", "name", "members")
    for row in rows:
        table.add_row(row.slug, row.name, ", ".join(row.members))
    return table
