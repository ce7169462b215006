"""`knockon plans`: list and show."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import ago, empty_table, pruned_text, short
from engine.cli.render.explanation import invalidation_text
from engine.cli.render.plan import estimate_text, job_changes, subject_of
from engine.cli.runtime.session import run
from engine.model.states import PlanState
from engine.service.queries.plans import PlanRow, PlanStep, PlanView
from engine.service.queries.plans import plan as find_plan
from engine.service.queries.plans import plans as list_plans
from engine.wording import counted, some

_MAX_LISTED = 50
app = typer.Typer(add_completion=False, invoke_without_command=True)


@app.callback()
@command
def plans(
    options: GlobalOptions,
    state: Annotated[
        list[PlanState] | None,
        typer.Option("--state", "-s", help="State of the plans; repeatable."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Maximum number of plans to list.")
    ] = 50,
) -> None:
    """List plans, newest first; a subcommand shows a plan."""
    rows = run(
        options,
        lambda session: list_plans(
            session.caller(), session.service, states=state or None, limit=limit
        ),
    )
    show(options, rows, _table)


@app.command("show")
@command
def show_(
    options: GlobalOptions,
    plan: Annotated[
        str, typer.Argument(help="Id of the plan, or the last characters.", metavar="PLAN")
    ],
) -> None:
    """Show a plan: reasons, jobs with partitions, and where the change stops."""
    view = run(options, lambda session: find_plan(session.caller(), session.service, plan))
    show(options, view, _tree)


def _table(rows: list[PlanRow]) -> RenderableType:
    if not rows:
        return Text("no such plans", "dim")
    table = empty_table("plan|", "state|", "change of", "jobs>", "tasks>", "age|", "note")
    for row in rows:
        counts = (f"{row.jobs:,}", f"{row.tasks:,}")
        age = ago(row.created_at)
        table.add_row(
            short(row.id), row.state, subject_of(row), *counts, age, Text(_note(row), "dim")
        )
    return table


def _tree(view: PlanView) -> RenderableType:
    plan = view.plan
    jobs, tasks = counted(plan.jobs, "job"), counted(plan.tasks, "task")
    head = Text.assemble("plan ", (short(plan.id), "bold"), f"  {plan.state}  ")
    tree = Tree(head.append(f"{ago(plan.created_at)}  {tasks} in {jobs}", "dim"))
    if plan.dags:
        tree.add(_deploy_tree(view))
    for line in _note(plan).splitlines():
        tree.add(Text(line, "yellow"))
    for invalidation in view.invalidations:
        tree.add(invalidation_text(invalidation))
    if view.more_invalidations:
        tree.add(Text(f"and {view.more_invalidations:,} more invalidations", "dim"))
    for step in view.steps[:_MAX_LISTED]:
        tree.add(_step_text(step))
    if view.steps[_MAX_LISTED:]:
        tree.add(Text(f"and {len(view.steps) - _MAX_LISTED:,} more jobs; --json lists all", "dim"))
    for edge in view.pruned[:_MAX_LISTED]:
        tree.add(pruned_text(edge))
    return tree


def _deploy_tree(view: PlanView) -> Tree:
    plan = view.plan
    by = f" by {plan.deployed_by}" if plan.deployed_by else ""
    tree = Tree(Text(f"{subject_of(plan)}{by}"))
    for dag, change in view.changes.items():
        branch = tree.add(Text(dag, "bold"))
        for job in job_changes(change):
            branch.add(job)
    return tree


def _step_text(step: PlanStep) -> Text:
    text = Text.assemble("→ ", (step.job, "bold green"), f"  {some(step.partitions)}")
    text.append(f"  via {some(step.via)}", "dim")
    if not step.directly_invalidated:
        text.append("  if inputs change", "dim italic")
    return text


def _note(row: PlanRow) -> str:
    if row.decided_by:
        return f"by {row.decided_by} {ago(row.decided_at)}"
    return "\n".join(filter(None, (*row.exceeded_limits, estimate_text(row.estimate))))
