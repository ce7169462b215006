"""`knockon undeploy`."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.runtime.session import run
from engine.service.commands.undeploys import Undeployed, Undeployment, preview_undeploy_of
from engine.service.commands.undeploys import undeploy as undeploy_dag
from engine.wording import counted, some

app = typer.Typer(add_completion=False)


@app.command()
@command
def undeploy(
    options: GlobalOptions,
    dag: Annotated[str, typer.Argument(help="Name of the DAG.", metavar="DAG")],
    drop_tables: Annotated[
        bool, typer.Option("--drop-tables", help="Drop the tables that Knockon has created for it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Undeploy; otherwise preview only.")] = False,
    by: By = None,
) -> None:
    """Remove a DAG: cancel its tasks, and stop reading its sources.

    A later deploy of the same file continues with the built partitions, unless the tables were
    dropped. Refused while jobs of other DAGs read its datasets.
    """
    operation = undeploy_dag if yes else preview_undeploy_of
    done = run(
        options,
        lambda session: operation(
            session.caller(by), session.service, dag, drop_tables=drop_tables
        ),
    )
    show(options, done, lambda view: _tree(view, yes))


def _tree(view: Undeployed, done: bool) -> RenderableType:
    state = "is undeployed" if done else "would be undeployed; --yes does it"
    if view.effects is None:
        state = "was undeployed before"
    tree = Tree(Text.assemble((view.dag_name, "bold"), f" {state}"))
    if view.effects is not None:
        for line in (*_effects(view.effects), *_captured(view.effects, view.captured)):
            tree.add(line)
    fate = "dropped" if view.drops_tables else "kept"
    if view.created:
        tree.add(f"{counted(len(view.created), 'table')} {fate}: {some(view.created, most=20)}")
    return tree


def _effects(effects: Undeployment) -> Iterator[str]:
    yield f"{counted(effects.jobs, 'job')} of version {effects.version}"
    named = f": {some(effects.datasets, most=20)}" if effects.datasets else ""
    yield f"{counted(len(effects.datasets), 'dataset')}{named}"
    yield f"{counted(effects.tasks, 'task')} canceled"
    yield f"{counted(effects.invalidations, 'open invalidation')} closed"
    if effects.topics:
        yield f"topics no longer read: {some(effects.topics, most=20)}"
    if effects.endpoints:
        yield f"endpoints no longer read: {some(effects.endpoints, most=20)}"
    if effects.schedules:
        yield f"schedules ended: {some(effects.schedules, most=20)}"


def _captured(effects: Undeployment, captured: tuple[str, ...] | None) -> Iterator[str]:
    remedy = "'knockon detach' ends that"
    if captured:
        yield f"tables still captured: {some(captured, most=20)}; {remedy}"
    elif captured is None:
        names = some(effects.tables, most=20)
        yield f"tables still captured if attached: {names}; {remedy}"
