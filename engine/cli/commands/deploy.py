"""`knockon deploy`."""

from collections.abc import Iterator, Sequence
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
from engine.cli.render.elements import short
from engine.cli.render.plan import cost_text, estimate_text, job_changes
from engine.cli.runtime.dag_files import STANDARD_INPUT, read_dags
from engine.cli.runtime.python_code import with_python_code
from engine.cli.runtime.session import Session, load_settings, run
from engine.cli.runtime.wait import Timeout, Wait, check_wait, wait_for
from engine.lineage.diff import DagDiff
from engine.model.dag import DagFile
from engine.service.commands.deploys import Deploy, Deployment
from engine.service.commands.deploys import deploy as deploy_dags
from engine.service.queries.deploys import preview
from engine.service.queries.impacted_jobs import ImpactedJob
from engine.service.queries.progress import build_of
from engine.wording import counted, some
from engine.worker.code_path import add_code_directories, directories_of

app = typer.Typer(add_completion=False)


_MOST_JOBS = 20
"""Limit on the jobs listed before a deploy."""


@app.command()
@command
def deploy(
    options: GlobalOptions,
    files: Annotated[
        list[Path],
        typer.Argument(help="DAG files; - for standard input.", metavar="FILE"),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the effect of the deploy without deploying.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    by: By = None,
) -> None:
    """Deploy DAG files: build changed outputs as new dataset versions, keep the rest.

    Several files are deployed together, all or none. Deploying unchanged content has no effect. A
    deploy that exceeds a limit deploys nothing before its plan is approved; exit with 1.
    """
    check_wait(wait=wait, dry_run=dry_run)
    code_path = directories_of(load_settings(options).code_path)
    add_code_directories([*(file.parent for file in files if file != STANDARD_INPUT), *code_path])
    dags = read_dags(files, with_python_code)

    async def work(session: Session) -> Deploy:
        operation = preview if dry_run else deploy_dags
        deployed = await operation(session.caller(by), session.service, dags)
        show(options, deployed, lambda deploy: _report(dags, deploy, dry_run=dry_run))
        if wait and deployed.pending_plan is None:
            await wait_for(session, await _builds(session, deployed), timeout)
        return deployed

    deployed = run(options, work, creates_database=True, creates_org=not dry_run)
    if deployed.pending_plan is not None:
        raise typer.Exit(1)


async def _builds(session: Session, deployed: Deploy) -> list[UUID]:
    """The invalidations of a deploy, and those of earlier builds of unchanged DAGs."""
    earlier = [
        invalidation
        for dag in deployed.dags
        if (version := dag.version_id)
        for invalidation in await build_of(session.caller(), session.service, version)
    ]
    return [*dict.fromkeys([*deployed.invalidations, *earlier])]


def _report(dags: Sequence[DagFile], deploy: Deploy, *, dry_run: bool) -> RenderableType:
    followed = (
        Text.assemble(("↳ ", "cyan"), name, ("  now reads different columns", "dim"))
        for name in deploy.followed
    )
    is_preview = dry_run or deploy.pending_plan is not None
    trees = (_tree(dag, is_preview) for dag in deploy.dags)
    texts = (*_restarts(dags, deploy), *_limits(deploy))
    return Group(*trees, *followed, *_work(deploy, is_preview), *texts)


def _restarts(dags: Sequence[DagFile], deploy: Deploy) -> Iterator[Text]:
    """Yield the jobs with changed Python code, which workers may have imported."""
    in_python = {job.name for dag in dags for job in dag.jobs if job.operator == "python"}
    changes = (dag.diff.changed for dag in deploy.dags)
    changed = [name for each in changes for name, keys in each.items() if "code" in keys]
    if names := [name for name in changed if name in in_python]:
        jobs = f"the Python code of {some(names)} has changed: "
        yield Text.assemble(("! ", "yellow"), jobs, ("restart the workers", "bold"))


def _limits(deploy: Deploy) -> Iterator[Text]:
    """Yield the exceeded limits, and the command that approves a pending deploy."""
    for limit in deploy.exceeded_limits:
        yield Text(f"exceeds a limit: {limit}", "yellow")
    if deploy.pending_plan is not None:
        plan = short(deploy.pending_plan)
        yield Text.assemble(
            ("nothing is deployed before the plan is approved: ", "yellow"),
            (f"knockon approve {plan}", "bold"),
        )
    elif deploy.exceeded_limits:
        yield Text("the deploy would need approval", "yellow")


def _work(deploy: Deploy, is_preview: bool) -> Iterator[RenderableType]:
    """Yield the work in all DAGs, with its cost; a preview lists the jobs."""
    if not deploy.jobs:
        return
    tasks, jobs = counted(deploy.tasks, "task"), counted(len(deploy.jobs), "job")
    verb = "would be planned" if is_preview else "planned"
    cost = estimate_text(deploy.estimate)
    tree = Tree(Text.assemble((f"{tasks} {verb}", "bold cyan"), f" in {jobs}; {cost}"))
    for job in deploy.jobs[:_MOST_JOBS] if is_preview else ():
        tree.add(_job_text(job))
    if is_preview and len(deploy.jobs) > _MOST_JOBS:
        more = counted(len(deploy.jobs) - _MOST_JOBS, "more job")
        tree.add(Text(f"{more}: --json lists all", "dim"))
    yield tree


def _job_text(job: ImpactedJob) -> Text:
    text = Text.assemble((f"{job.dag}.", "dim"), job.job, f"  {some(job.partitions)}  ")
    cost = cost_text(job.estimate)
    text.append(", ".join(filter(None, (counted(job.tasks, "task"), cost))), "dim")
    return text


def _tree(deployment: Deployment, is_preview: bool) -> Tree:
    change = deployment.diff
    same = not (change.added or change.changed or change.removed or change.regenerated)
    state = "would be deployed" if is_preview else "is deployed"
    if deployment.is_restored:
        state += " again, with the partitions built before"
    elif same:
        state = "is unchanged"
    tree = Tree(Text.assemble((deployment.dag_name, "bold"), f" {state}"))
    for line in job_changes(change):
        tree.add(line)
    if change.unchanged and not same:
        tree.add(Text(f"= {counted(len(change.unchanged), 'job')} unchanged", "dim"))
    if change.regenerated:
        _add_versions(tree, change)
    for line in _bounds_texts(deployment):
        tree.add(line)
    for each in deployment.notes:
        tree.add(Text.assemble(("note: ", "yellow"), str(each)))
    return tree


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
    for name, table in deployment.captured.items():
        yield Text.assemble(
            ("! ", "yellow"),
            f"{name}  if {table} is attached, its triggers use the earlier partitions",
            ("; the command that attaches it again: ", "dim"),
            "knockon doctor",
        )


def _growth_text(name: str, partitions: Sequence[str]) -> Text:
    return Text.assemble(
        ("! ", "yellow"),
        f"{name}  now includes {', '.join(partitions)}",
        ("; if rows exist already: ", "dim"),
        f"knockon invalidate {name} -p '{partitions[0]}'",
    )


def _add_versions(tree: Tree, diff: DagDiff) -> None:
    is_own = diff.added or diff.changed or diff.removed
    reason = "" if is_own else "  because an input in another DAG changed"
    count = counted(len(diff.regenerated), "new dataset version")
    branch = tree.add(Text.assemble((count, "cyan"), (reason, "dim")))
    is_first = not (diff.changed or diff.unchanged or diff.removed)
    for name, columns in () if is_first else diff.regenerated.items():
        names = "" if columns is None else f"  {', '.join(columns)}"
        branch.add(Text.assemble(name, (names, "dim")))
