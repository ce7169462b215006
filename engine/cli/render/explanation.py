"""Explanations of tasks and partitions, as trees."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text
from rich.tree import Tree

from engine.cli.render.elements import ago, compact, mapping_text, pruned_text, short, status_text
from engine.model.event import MANUAL
from engine.model.states import FINISHED_STATUSES, PlanState, Reason, TaskStatus
from engine.service.queries.audit import Verdict
from engine.service.queries.explain_partition import ExplainedPartition, UnfinishedTask
from engine.service.queries.explain_task import Blocker, Cause, ExplainedTask, PathHop
from engine.service.queries.invalidations import InvalidationRow
from engine.service.queries.not_run import PlanNotRun
from engine.wording import counted, some, summary

_MAX_LISTED = 12
_MAX_CHANGES = 3
_VERDICTS: dict[Verdict, tuple[str, str]] = {
    Verdict.FRESH: ("green", "fresh"),
    Verdict.IN_HAND: ("yellow", "stale, in hand"),
    Verdict.LEFT: ("yellow", "stale, left by decision"),
    Verdict.LOST: ("bold red", "stale, lost"),
    Verdict.WAITING: ("dim", "not built yet"),
}
_AWAITS_APPROVAL = ("yellow", "stale, awaits approval")
_FAILED = ("bold red", "stale, left after a failure")
_STATES = {Verdict.FRESH: ("fresh", "bold green"), Verdict.WAITING: ("not built yet", "dim")}
"""Other verdicts are on stale partitions."""


def task_tree(view: ExplainedTask) -> Tree:
    """A task with causes, blockers and attempts."""
    task = view.task
    head = Text.assemble(("task ", "dim"), short(task.id), "  ", (task.job, "bold"))
    tree = Tree(head.append(f"  {some(task.partitions)}  ").append_text(status_text(task.status)))
    for cause in view.causes:
        _add_cause(tree, cause)
    if view.more_causes:
        tree.add(Text(f"and {view.more_causes} earlier plans", "dim"))
    _add_blockers(tree, view)
    _add_runs(tree, view)
    return tree


def _add_cause(tree: Tree, cause: Cause) -> None:
    by = f"  plan {short(cause.plan_id)}, by {cause.decided_by}" if cause.decided_by else ""
    branch = tree.add(Text.assemble(("because", "bold"), (by, "dim")))
    for invalidation in cause.invalidations:
        branch.add(invalidation_text(invalidation))
    if cause.more_invalidations:
        branch.add(Text(f"and {cause.more_invalidations} more invalidations", "dim"))
    for hop in cause.path:
        branch = branch.add(_hop_text(hop))


def invalidation_text(invalidation: InvalidationRow) -> Text:
    """An invalidation: part of the dataset, reason, age and origin."""
    text = Text.assemble(
        (invalidation.dataset, "bold"), f" {invalidation.partition_key or 'all of it'}"
    )
    if invalidation.columns is not None:
        text.append(f" columns {', '.join(invalidation.columns)}", "cyan")
    if invalidation.row_filter:
        text.append(f" rows {compact(invalidation.row_filter)}", "cyan")
    text.append(f"  {invalidation.reason}", "magenta").append(
        f"  {ago(invalidation.created_at)}", "dim"
    )
    return text.append(f"  {_origin(invalidation)}", "dim")


def _origin(invalidation: InvalidationRow) -> str:
    source = invalidation.source_event
    event = source.get("event") or {}
    is_merged = invalidation.events > 1
    events = f"{invalidation.events:,} events" if is_merged else None
    ids = f"ids {some(source['ids'])}" if is_merged and source.get("ids") else None
    return ", ".join(filter(None, (events, *_senders(source, event), ids, event.get("note"))))


def _senders(source: dict[str, Any], event: dict[str, Any]) -> Iterator[str]:
    """The name given by the sender, or positions in streams."""
    stream = source.get("stream")
    if stream == MANUAL or event.get("source") not in (None, stream):
        yield event.get("source") or MANUAL
    else:
        for name, positions in source.get("streams", {stream: source}).items():
            first, last = positions.get("first", ""), positions.get("last", "")
            yield f"{name} {first}{f'..{last}' if last != first else ''}".strip()


def _hop_text(hop: PathHop) -> Text:
    text = Text.assemble("→ ", (hop.job, "bold green"), f" {some(hop.partitions)}")
    if hop.mapping == "itself":
        return text.append("  own output invalidated", "dim")
    columns = "" if hop.columns is None else f", columns {some(hop.columns, 6)}"
    mapping = mapping_text(hop.mapping)
    read = f"  reads {hop.dataset} {some(hop.dirty)}{columns}{mapping and f', {mapping}'}"
    return text.append(read, "dim")


def _add_blockers(tree: Tree, view: ExplainedTask) -> None:
    task = view.task
    unfinished = [other for other in view.blockers if other.status not in FINISHED_STATUSES]
    if task.status == TaskStatus.BLOCKED and (unfinished or task.waiting_for):
        branch = tree.add(Text("waits for", "bold yellow"))
        for other in unfinished[:_MAX_LISTED]:
            line = Text.assemble(short(other.id), f"  {other.job} {other.block_key}  ")
            line.append_text(status_text(other.status))
            branch.add(line.append(f"  {summary(other.error_message)}", "dim"))
        if unfinished[_MAX_LISTED:]:
            branch.add(Text(f"and {len(unfinished) - _MAX_LISTED:,} more tasks", "dim"))
        for name, keys in (task.waiting_for or {}).items():
            branch.add(Text.assemble((name, "bold"), f" {some(keys)} to exist"))
    if task.status == TaskStatus.SKIPPED and view.blockers:
        _add_unchanged(tree.add(Text("skipped: no run changed an input", "bold")), view.blockers)


def _add_unchanged(branch: Tree, blockers: Sequence[Blocker]) -> None:
    """Add the former blockers of a skipped task, with outcomes."""
    for task in blockers[:_MAX_LISTED]:
        outcome = task.outcome or task.status
        if outcome == "changed":
            outcome = "changed, but no column or row read here"
        branch.add(
            Text.assemble(short(task.id), f"  {task.job} {task.block_key}  ", (outcome, "dim"))
        )
    if blockers[_MAX_LISTED:]:
        branch.add(Text(f"and {len(blockers) - _MAX_LISTED:,} more tasks", "dim"))


def _add_runs(tree: Tree, view: ExplainedTask) -> None:
    task = view.task
    if view.pause:
        tree.add(Text(str(view.pause), "bold yellow"))
    branch = tree.add(Text(counted(task.attempts, "attempt")))
    if task.started_at:
        branch.add(f"started {ago(task.started_at)} by {task.worker_id}")
    if task.completed_at:
        branch.add(f"ended {ago(task.completed_at)}: {task.outcome or task.status}")
    if task.next_retry_at:
        branch.add(f"next attempt at {task.next_retry_at:%H:%M:%S} UTC")
    if task.error_message:
        branch.add(Text(task.error_message, "red"))
    if view.row_filters:
        branch.add(f"rows {some(map(compact, view.row_filters))}")
    if view.inputs:
        branch.add(Text(f"read {some(view.inputs, 6)}", "dim"))


def partition_tree(view: ExplainedPartition) -> Tree:
    """A partition with state, pending work, and changes without effect on the partition."""
    state = _STATES.get(view.verdict, ("stale", "bold red"))
    tree = Tree(Text.assemble((view.dataset, "bold"), f" {view.partition}  ", state))
    tree.add(_content_text(view))
    tree.add(_verdict_text(view))
    for reason in view.stale:
        tree.add(Text(reason, "dim" if view.verdict == Verdict.WAITING else "red"))
    for task in view.unfinished:
        tree.add(_unfinished_text(task))
    for plan in view.not_run:
        tree.add(_plan_text(plan))
    for change in view.pruned_changes[:_MAX_CHANGES]:
        text = Text.assemble("not affected by a change of ", (change.dataset, "bold"))
        if change.reason != Reason.CHANGE:
            text.append(f"  {change.reason}", "magenta")
        branch = tree.add(text.append(f"  {ago(change.at)}", "dim"))
        for edge in change.pruned:
            branch.add(pruned_text(edge))
    if earlier := view.pruned_changes[_MAX_CHANGES:]:
        tree.add(Text(f"nor by {counted(len(earlier), 'earlier change')}: see --json", "dim"))
    return tree


def _unfinished_text(task: UnfinishedTask) -> Text:
    text = Text.assemble("task ", short(task.id), "  ").append_text(status_text(task.status))
    missing = [f"{name} {some(keys)}" for name, keys in (task.waiting_for or {}).items()]
    waits = f"  waits for {', '.join(missing)} to exist" if missing else ""
    return text.append(f"  {summary(task.error_message)}{waits}", "dim")


def _verdict_text(view: ExplainedPartition) -> Text:
    style, words = _VERDICTS[view.verdict]
    if view.awaits_approval:
        style, words = _AWAITS_APPROVAL
    elif view.has_failed:
        style, words = _FAILED
    text = Text.assemble(("audit: ", "dim"), (words, style))
    return text.append(f": {view.explained_by}" if view.explained_by else "")


def _plan_text(plan: PlanNotRun) -> Text:
    is_pending = plan.state == PlanState.PENDING_APPROVAL
    reason = "; ".join(plan.why) if is_pending else f"by {plan.by or 'unknown'}"
    text = Text.assemble("plan ", short(plan.id), "  ", status_text(plan.state))
    text.append(f"  {ago(plan.at)}  {reason}", "dim")
    return text.append(f"  knockon approve {short(plan.id)}", "yellow") if is_pending else text


def _content_text(view: ExplainedPartition) -> Text:
    if view.materialized_at is None:
        return Text("does not exist yet", "dim")
    verb = "changed" if view.is_source else "built"
    at = view.completed_at or view.materialized_at
    text = Text(f"{verb} {ago(at)}, {at:%Y-%m-%d %H:%M:%S} UTC")
    if view.task_id:
        text.append(f", by {view.job} in task {short(view.task_id)}")
    if view.row_count is not None:
        text.append(f", {counted(view.row_count, 'row')}")
    if view.is_unchanged:
        text.append(f", unchanged since {view.materialized_at:%Y-%m-%d %H:%M:%S} UTC")
    return text
