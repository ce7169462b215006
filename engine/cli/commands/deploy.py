"""`knockon deploy`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.dag_files import STANDARD_INPUT, read_dag
from engine.cli.runtime.python_code import with_python_code
from engine.cli.runtime.session import Session, load_settings, run
from engine.cli.runtime.wait import Timeout, Wait, wait_for
from engine.lineage.diff import DagDiff
from engine.service.commands.deploys import Deployment
from engine.service.commands.deploys import deploy as deploy_dag
from engine.service.queries.deploys import preview
from engine.service.queries.progress import build_of
from engine.wording import counted
from engine.worker.code_path import add_code_directories, directories_of

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
    wait: Wait = False,
    timeout: Timeout = None,
    by: By = None,
) -> None:
    """Deploy DAG files: build changed outputs as new dataset versions, keep the rest.

    Deploying unchanged content has no effect.
    """
    code_path = directories_of(load_settings(options).code_path)
    add_code_directories([*(file.parent for file in files if file != STANDARD_INPUT), *code_path])
    dags = [with_python_code(read_dag(file)) for file in files]

    async def work(session: Session) -> None:
        operation = preview if dry_run else deploy_dag
        deployments: list[Deployment] = []
        try:
            for dag in dags:
                deployments += [await operation(session.caller(by), session.service, dag)]
        finally:
            # A rejected file does not undo the deploys before it.
            if deployments:
                show(options, _Deployed(dry_run, tuple(deployments)), _trees)
        if wait and not dry_run:
            await wait_for(session, await _builds(session, deployments), timeout)

    run(options, work, creates_org=not dry_run)


async def _builds(session: Session, deployments: Iterable[Deployment]) -> list[UUID]:
    return [
        invalidation
        for deployment in deployments
        if (version := deployment.version_id)
        for invalidation in await build_of(session.caller(), session.service, version)
    ]


def _trees(deployed: _Deployed) -> RenderableType:
    return Group(*(_tree(deployment, deployed.dry_run) for deployment in deployed.dags))


def _tree(deployment: Deployment, dry_run: bool) -> Tree:
    change = deployment.diff
    same = not (change.added or change.changed or change.removed or change.regenerated)
    state = "would be deployed" if dry_run else "is deployed"
    note = ", unchanged" if same else ""
    if deployment.is_restored:
        note = " again, with the partitions built before"
    tree = Tree(Text.assemble((deployment.dag_name, "bold"), f" {state}{note}"))
    _add_jobs(tree, change)
    if change.unchanged and not same:
        tree.add(Text(f"= {counted(len(change.unchanged), 'job')} unchanged", "dim"))
    if change.regenerated:
        _add_versions(tree, deployment, dry_run)
    elif deployment.is_restored and not dry_run:
        tree.add(Text(f"{counted(deployment.tasks, 'task')} planned", "cyan"))
    for line in _bounds_texts(deployment):
        tree.add(line)
    for name in deployment.followed:
        tree.add(Text.assemble(("↳ ", "cyan"), name, ("  now reads different columns", "dim")))
    return tree


def _add_jobs(tree: Tree, change: DagDiff) -> None:
    for name in change.added:
        tree.add(Text.assemble(("+ ", "green"), name))
    for name, keys in change.changed.items():
        tree.add(Text.assemble(("~ ", "yellow"), name, (f"  {', '.join(keys)}", "dim")))
    for name in change.removed:
        tree.add(Text.assemble(("- ", "red"), name))


def _bounds_texts(deployment: Deployment) -> Iterator[Text]:
    """Yield the partitions that leave and enter datasets by changed bounds and key lists."""
    for name, partitions in deployment.leaving.items():
        texts = f"  no longer includes {', '.join(partitions)}"
        yield Text.assemble(("- ", "red"), name, (texts, "dim"))
    for name, partitions in deployment.entering.items():
        if name in deployment.grown:
            yield _growth_text(name, partitions)
        else:
            texts = f"  now includes {', '.join(partitions)}"
            yield Text.assemble(("+ ", "green"), name, (texts, "dim"))


def _growth_text(name: str, partitions: Sequence[str]) -> Text:
    return Text.assemble(
        ("! ", "yellow"),
        f"{name}  now includes {', '.join(partitions)}",
        ("; if rows exist already: ", "dim"),
        f"knockon invalidate {name} -p '{partitions[0]}'",
    )


def _add_versions(tree: Tree, deployment: Deployment, dry_run: bool) -> None:
    tasks = "" if dry_run else f", {counted(deployment.tasks, 'task')} planned"
    count = counted(len(deployment.diff.regenerated), "new dataset version")
    branch = tree.add(Text.assemble((count, "cyan"), tasks))
    diff = deployment.diff
    is_first = not (diff.changed or diff.unchanged or diff.removed)
    for name, columns in () if is_first else diff.regenerated.items():
        names = "" if columns is None else f"  {', '.join(columns)}"
        branch.add(Text.assemble(name, (names, "dim")))
