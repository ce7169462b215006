"""`knockon history`."""

import sys
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show, to_json
from engine.cli.render.elements import ago, empty_table
from engine.cli.runtime.session import run
from engine.errors import InvalidInput
from engine.model.states import DeployKind
from engine.printable import printable
from engine.service.queries.history import PastDeploy, file_of_version
from engine.service.queries.history import history as list_deploys
from engine.wording import counted, some

app = typer.Typer(add_completion=False)


@app.command()
@command
def history(
    options: GlobalOptions,
    dag: Annotated[str | None, typer.Argument(help="DAG; default: all.", metavar="[DAG]")] = None,
    version: Annotated[
        int | None,
        typer.Option("--version", min=1, help="Print the file of a version, for a deploy of it."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Maximum number of deploys to list.")
    ] = 50,
) -> None:
    """List deploys with their changes, newest first, or print the file of a version."""
    if version is None:
        deploys = run(
            options,
            lambda session: list_deploys(session.caller(), session.service, dag, limit=limit),
        )
        show(options, deploys, _table)
        return
    if dag is None:
        raise InvalidInput("--version needs the name of a DAG: 'knockon history DAG --version 3'")
    file = run(
        options, lambda session: file_of_version(session.caller(), session.service, dag, version)
    )
    sys.stdout.write(to_json(file) if options.as_json else printable(file.file))


def _table(deploys: list[PastDeploy]) -> RenderableType:
    if not deploys:
        return Text("no deploys", "dim")
    table = empty_table("DAG", "version>", "deployed", "by", "", "changes")
    for deploy in deploys:
        when = f"{deploy.deployed_at.isoformat(sep=' ', timespec='seconds')}"
        table.add_row(
            deploy.dag,
            str(deploy.version),
            Text.assemble(when, (f"  {ago(deploy.deployed_at)}", "dim")),
            deploy.by or "",
            Text("current", "green") if deploy.is_current else "",
            _changes_text(deploy),
        )
    return table


def _changes_text(deploy: PastDeploy) -> Text:
    if deploy.kind == DeployKind.UNDEPLOYED:
        return Text("undeployed", "yellow")
    changes = deploy.changes
    if changes is None:
        return Text("the version before was removed", "dim")
    parts = [f"+ {name}" for name in changes.added]
    parts += [f"~ {name} ({', '.join(keys)})" for name, keys in changes.changed.items()]
    parts += [f"- {name}" for name in changes.removed]
    parts += [f"~ {key} of the DAG" for key in deploy.changed_keys]
    text = Text(some(parts) if parts else "no job")
    if changes.regenerated:
        rebuilt = counted(len(changes.regenerated), "new dataset version")
        text.append(f"; {rebuilt}", "dim")
    return text
