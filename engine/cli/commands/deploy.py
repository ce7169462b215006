"""`knockon deploy`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.dag_files import read_dag
from engine.cli.runtime.python_code import with_python_code
from engine.cli.runtime.session import Session, run
from engine.cli.runtime.wait import wait_for
from engine.service.commands.deploys import Deployment
from engine.service.commands.deploys import deploy as deploy_dag
from engine.service.queries.deploys import preview
from engine.service.queries.progress import build_of
from engine.wording import counted

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class _Deployed:
    dry_run: bool
    dags: tuple[Deployment, ...]


@app.command()
@command
def deploy(
    options: GlobalOptions,
    files: Annotated[
        list[Path],
        typer.Argument(help="DAG files, in order; - for standard input.", metavar="FILE"),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the effect of the deploy without deploying.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when all new dataset versions are built.")
    ] = False,
) -> None:
    """Deploy DAG files: build changed outputs as new dataset versions, keep the rest.

    Deploying unchanged content has no effect.
    """
    dags = [with_python_code(read_dag(file)) for file in files]

    async def work(session: Session) -> _Deployed:
        operation = preview if dry_run else deploy_dag
        done = [await operation(session.caller(), session.service, dag) for dag in dags]
        if wait and not dry_run:
            await wait_for(session, await _builds(session, done))
        return _Deployed(dry_run, tuple(done))

    show(options, run(options, work, creates_org=not dry_run), _report)


async def _builds(session: Session, done: Iterable[Deployment]) -> list[UUID]:
    return [
        invalidation
        for each in done
        if each.version_id
        for invalidation in await build_of(session.caller(), session.service, each.version_id)
    ]


def _report(deployed: _Deployed) -> RenderableType:
    return Group(*(_tree(each, deployed.dry_run) for each in deployed.dags))


def _tree(done: Deployment, dry_run: bool) -> Tree:
    change = done.diff
    same = not (change.added or change.changed or change.removed or change.regenerated)
    head = "would be deployed" if dry_run else "is served"
    tree = Tree(Text.assemble((done.dag_name, "bold"), f" {head}", " as it was" if same else ""))
    for name in change.added:
        tree.add(Text.assemble(("+ ", "green"), name))
    for name, keys in change.changed.items():
        tree.add(Text.assemble(("~ ", "yellow"), name, (f"  {', '.join(keys)}", "dim")))
    for name in change.removed:
        tree.add(Text.assemble(("- ", "red"), name))
    if change.unchanged and not same:
        tree.add(Text(f"= {counted(len(change.unchanged), 'job')} unchanged", "dim"))
    if change.regenerated:
        _add_versions(tree, done, dry_run)
    for name, partitions in done.grown.items():
        tree.add(_growth(name, partitions))
    for name in done.followed:
        tree.add(Text.assemble(("↳ ", "cyan"), name, ("  reads other columns of it now", "dim")))
    return tree


def _growth(name: str, partitions: Sequence[str]) -> Text:
    return Text.assemble(
        ("! ", "yellow"),
        f"{name}  reaches further: {', '.join(partitions)}",
        ("; if rows are there already: ", "dim"),
        f"knockon invalidate {name} -p '{partitions[0]}'",
    )


def _add_versions(tree: Tree, done: Deployment, dry_run: bool) -> None:
    tasks = "" if dry_run else f", {counted(done.tasks, 'task')} planned"
    count = counted(len(done.diff.regenerated), "new dataset version")
    branch = tree.add(Text.assemble((count, "cyan"), tasks))
    is_first = not (done.diff.changed or done.diff.unchanged or done.diff.removed)
    for name, columns in () if is_first else done.diff.regenerated.items():
        what = "" if columns is None else f"  {', '.join(columns)}"
        branch.add(Text.assemble(name, (what, "dim")))
