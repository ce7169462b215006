"""How explanations look."""

from rich.text import Text
from rich.tree import Tree

from engine.api.explain_partition import ExplainedPartition
from engine.api.explain_task import Cause, ExplainedTask, PathHop
from engine.api.invalidations import InvalidationRow
from engine.cli.output import (
    ago,
    compact,
    counted,
    mapping_text,
    pruned_text,
    short,
    some,
    status_text,
)
from engine.flow.coalesce import MANUAL

_OVER = ("succeeded", "skipped", "canceled")
_MOST = 12


def task_tree(view: ExplainedTask) -> Tree:
    """A task: why, behind what, and how it went."""
    task = view.task
    head = Text.assemble(("task ", "dim"), short(task.id), "  ", (task.job, "bold"))
    tree = Tree(head.append(f"  {some(task.partitions)}  ").append_text(status_text(task.status)))
    for cause in view.causes:
        _add_cause(tree, cause)
    if view.more_causes:
        tree.add(Text(f"and {view.more_causes} earlier plans", "dim"))
    _add_waiting(tree, view)
    _add_runs(tree, view)
    return tree


def _add_cause(tree: Tree, cause: Cause) -> None:
    branch = tree.add(Text("because", "bold"))
    for fact in cause.invalidations:
        branch.add(fact_text(fact))
    if cause.more_invalidations:
        branch.add(Text(f"and {cause.more_invalidations} more invalidations", "dim"))
    for hop in cause.path:
        branch = branch.add(_hop_text(hop))


def fact_text(fact: InvalidationRow) -> Text:
    """An invalidation: what of which dataset, why, and who said so."""
    text = Text.assemble((fact.dataset, "bold"), f" {fact.partition_key or 'all of it'}")
    if fact.columns is not None:
        text.append(f" columns {', '.join(fact.columns)}", "cyan")
    if fact.row_filter:
        text.append(f" rows {compact(fact.row_filter)}", "cyan")
    text.append(f"  {fact.reason}", "magenta").append(f"  {ago(fact.created_at)}", "dim")
    return text.append(f"  {_origin(fact)}", "dim")


def _origin(fact: InvalidationRow) -> str:
    source = fact.source_event
    event = source.get("event") or {}
    events = f"{fact.events:,} events" if fact.events > 1 else None
    place = event.get("source") or source.get("stream")
    if place == source.get("stream") and place != MANUAL:
        place = f"{place} {source.get('first', '')}".strip()
    return ", ".join(filter(None, (events, place, event.get("note"))))


def _hop_text(hop: PathHop) -> Text:
    text = Text.assemble("→ ", (hop.job, "bold green"), f" {some(hop.partitions)}")
    if hop.mapping == "itself":
        return text.append("  its own output is wrong", "dim")
    columns = "" if hop.columns is None else f", columns {some(hop.columns, 6)}"
    mapping = mapping_text(hop.mapping)
    how = f"  reads {hop.dataset} {some(hop.dirty)}{columns}{mapping and f', {mapping}'}"
    return text.append(how, "dim")


def _add_waiting(tree: Tree, view: ExplainedTask) -> None:
    task = view.task
    waits = [each for each in view.in_front if each.status not in _OVER]
    if task.status == "blocked" and (waits or task.waiting_for):
        branch = tree.add(Text("waits for", "bold yellow"))
        for each in waits[:_MOST]:
            line = Text.assemble(short(each.id), f"  {each.job} {each.slot}  ")
            line.append_text(status_text(each.status)).append(
                f"  {_last(each.error_message)}", "dim"
            )
            branch.add(line)
        if waits[_MOST:]:
            branch.add(Text(f"and {len(waits) - _MOST:,} more tasks", "dim"))
        for name, keys in (task.waiting_for or {}).items():
            branch.add(Text.assemble((name, "bold"), f" {some(keys)} to exist"))


def _add_runs(tree: Tree, view: ExplainedTask) -> None:
    task = view.task
    branch = tree.add(Text(counted(task.attempts, "attempt")))
    if task.started_at:
        branch.add(f"started {ago(task.started_at)} by {task.worker_id}")
    if task.completed_at:
        branch.add(f"ended {ago(task.completed_at)}: {task.outcome or task.status}")
    if task.next_retry_at:
        branch.add(f"comes again at {task.next_retry_at:%H:%M:%S} UTC")
    if task.error_message:
        branch.add(Text(task.error_message, "red"))
    if view.row_filters:
        branch.add(f"rows {some(map(compact, view.row_filters))}")
    if view.inputs:
        branch.add(Text(f"read {some(view.inputs, 6)}", "dim"))


def partition_tree(view: ExplainedPartition) -> Tree:
    """A partition: how it stands, and what it was spared."""
    state = ("stale", "bold red") if view.stale else ("fresh", "bold green")
    head = Text.assemble((view.dataset, "bold"), f" {view.partition}  ", state)
    tree = Tree(head)
    tree.add(_made_text(view))
    for reason in view.stale:
        tree.add(Text(reason, "red"))
    for each in view.unfinished:
        line = Text.assemble("task ", short(each.id), "  ").append_text(status_text(each.status))
        tree.add(line.append(f"  {_last(each.error_message)}", "dim"))
    for spared in view.spared:
        what = Text.assemble("spared by a ", (spared.reason, "magenta"), " of ")
        what.append(spared.dataset, "bold").append(f"  {ago(spared.at)}", "dim")
        branch = tree.add(what)
        for edge in spared.pruned:
            branch.add(pruned_text(edge))
    return tree


def _made_text(view: ExplainedPartition) -> Text:
    if view.materialized_at is None:
        return Text("not there yet", "dim")
    verb = "changed" if view.is_source else "made"
    text = Text(f"{verb} {ago(view.materialized_at)}, {view.materialized_at:%Y-%m-%d %H:%M:%S} UTC")
    if view.task_id:
        text.append(f", by {view.job} in task {short(view.task_id)}")
    if view.row_count is not None:
        text.append(f", {view.row_count:,} rows")
    return text


def _last(message: str | None) -> str:
    lines = (message or "").strip().splitlines()
    return lines[-1] if lines else ""
