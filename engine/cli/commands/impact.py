"""`knockon impact`."""

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from engine.cli.commands._scope_options import (
    Columns,
    Dataset,
    Partitions,
    ReasonOption,
    Rows,
    event_from,
)
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import compact, pruned_text, short
from engine.cli.render.plan import cost_text, estimate_text
from engine.cli.runtime.session import run
from engine.model.event import SourceEvent
from engine.model.states import Reason
from engine.service.commands.proposals import Impact, propose
from engine.service.queries.impacted_jobs import Hop, ImpactedJob
from engine.wording import counted, some

app = typer.Typer(add_completion=False)


@app.command()
@command
def impact(
    options: GlobalOptions,
    dataset: Dataset,
    partitions: Partitions = None,
    columns: Columns = None,
    rows: Rows = None,
    reason: ReasonOption = Reason.CHANGE,
) -> None:
    """Preview a change: affected jobs and partitions, and where the change stops.

    The result is stored for a week as a plan; 'knockon apply' runs exactly that plan.
    """
    event = event_from(dataset, partitions, columns, rows, reason)
    view = run(options, lambda session: propose(session.caller(), session.service, event))
    show(options, view, report)


def report(view: Impact) -> RenderableType:
    """The impact of a change as a tree, with its costs and the command that applies it."""
    limits = (
        Text(f"exceeds a limit: {limit}; the change itself would need approval", "yellow")
        for limit in view.exceeded_limits
    )
    apply = (f"knockon apply {short(view.plan_id)}", "bold")
    hint = Text.assemble("to run exactly this plan: ", apply)
    return Group(_TreeBuilder(view).tree(), _summary(view), *limits, hint)


def _summary(view: Impact) -> Text:
    stops = counted(len(view.pruned), "edge")
    jobs, tasks = counted(len(view.jobs), "job"), counted(view.tasks, "task")
    cost = f"; {estimate_text(view.estimate)}" if view.jobs else ""
    return Text.assemble((tasks, "bold"), f" in {jobs}; {stops} pruned{cost}")


class _TreeBuilder:
    """Places each job below the first dataset on a path to the job, naming the other datasets."""

    def __init__(self, view: Impact) -> None:
        self._view = view
        self._branches: dict[str, Tree] = {}

    def tree(self) -> Tree:
        root = Tree(_change_text(self._view.event))
        self._branches[self._view.event.dataset] = root
        for job in self._view.jobs:
            self._add(job, root)
        for edge in self._view.pruned:
            self._branches.get(edge.dataset, root).add(pruned_text(edge))
        return root

    def _add(self, job: ImpactedJob, root: Tree) -> None:
        first, *others = job.via
        branch = self._branches.get(first.dataset, root).add(_job_text(job, others))
        for output in job.outputs:
            self._branches[output] = branch


def _change_text(event: SourceEvent) -> Text:
    partitions = some(event.partitions) if event.partitions else "all partitions"
    text = Text.assemble((event.dataset, "bold"), f"  {partitions}")
    if event.columns:
        text.append(f"  columns {', '.join(event.columns)}", "cyan")
    if event.rows:
        text.append(f"  rows {compact(event.rows)}", "cyan")
    return text


def _job_text(job: ImpactedJob, others: list[Hop]) -> Text:
    text = Text.assemble((job.job, "bold green"), f"  {some(job.partitions)}  ")
    text.append(counted(job.tasks, "task"), "dim")
    if job.continued:
        text.append(f", then one for each of {some(job.continued)} that changes", "dim")
    if job.estimate.seconds is not None:
        text.append(f" {cost_text(job.estimate)}", "dim")
    for columns in job.columns.values():
        text.append(f"  columns {some(columns, 6)}", "cyan")
    if job.row_filters:
        text.append(f"  rows {some(map(compact, job.row_filters))}", "cyan")
    if not job.directly_invalidated:
        text.append("  if inputs change", "dim italic")
    also = sorted({hop.dataset for hop in others})
    if also:
        text.append(f"  also via {some(also)}", "dim")
    return text
