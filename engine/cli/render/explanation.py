"""How explanations look."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text
from rich.tree import Tree

from engine.cli.render.elements import ago, compact, mapping_text, pruned_text, short, status_text
from engine.model.event import MANUAL
from engine.service.queries.explain_partition import AuditVerdict, ExplainedPartition
from engine.service.queries.explain_task import Blocker, Cause, ExplainedTask, PathHop
from engine.service.queries.invalidations import InvalidationRow
from engine.service.queries.not_run import PlanNotRun
from engine.wording import counted, some

_OVER = ("succeeded", "skipped", "canceled")
_MOST = 12
_VERDICTS: dict[AuditVerdict, tuple[str, str]] = {
    "fresh": ("green", "fresh"),
    "in hand": ("yellow", "stale, in hand"),
    "left": ("yellow", "stale, left by decision"),
    "lost": ("bold red", "stale, lost"),
    "waiting": ("dim", "not built yet"),
}


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
    word = f"  plan {short(cause.plan_id)}, by the word of {cause.decided_by}"
    branch = tree.add(Text.assemble(("because", "bold"), (word if cause.decided_by else "", "dim")))
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
    ids = f"ids {some(source['ids'])}" if fact.events > 1 and source.get("ids") else None
    return ", ".join(filter(None, (events, *_places(source, event), ids, event.get("note"))))


def _places(source: dict[str, Any], event: dict[str, Any]) -> Iterator[str]:
    """Who said so, or where in which streams it stands."""
    stream = source.get("stream")
    if stream == MANUAL or event.get("source") not in (None, stream):
        yield event.get("source") or MANUAL
    else:
        for name, place in source.get("streams", {stream: source}).items():
            first, last = place.get("first", ""), place.get("last", "")
            yield f"{name} {first}{f'..{last}' if last != first else ''}".strip()


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
    waits = [each for each in view.blockers if each.status not in _OVER]
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
    if task.status == "skipped" and view.blockers:
        _add_unchanged(tree.add(Text("spared by what it would have read", "bold")), view.blockers)


def _add_unchanged(branch: Tree, blockers: Sequence[Blocker]) -> None:
    """What a skipped task waited for, and how that came out."""
    for each in blockers[:_MOST]:
        how = each.outcome or each.status
        how = "changed, but not in what this reads" if how == "changed" else how
        branch.add(Text.assemble(short(each.id), f"  {each.job} {each.slot}  ", (how, "dim")))
    if blockers[_MOST:]:
        branch.add(Text(f"and {len(blockers) - _MOST:,} more tasks", "dim"))


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
    tree.add(_verdict_text(view))
    for reason in view.stale:
        tree.add(Text(reason, "red"))
    for each in view.unfinished:
        line = Text.assemble("task ", short(each.id), "  ").append_text(status_text(each.status))
        wanted = [f"{name} {some(keys)}" for name, keys in (each.waiting_for or {}).items()]
        waits = f"  waits for {', '.join(wanted)} to exist" if wanted else ""
        tree.add(line.append(f"  {_last(each.error_message)}{waits}", "dim"))
    for plan in view.not_run:
        tree.add(_plan_text(plan))
    for spared in view.spared:
        article = "an" if spared.reason[0] in "aeiou" else "a"
        what = Text.assemble(f"spared by {article} ", (spared.reason, "magenta"), " of ")
        what.append(spared.dataset, "bold").append(f"  {ago(spared.at)}", "dim")
        branch = tree.add(what)
        for edge in spared.pruned:
            branch.add(pruned_text(edge))
    return tree


def _verdict_text(view: ExplainedPartition) -> Text:
    style, words = _VERDICTS[view.verdict]
    text = Text.assemble(("audit: ", "dim"), (words, style))
    return text.append(f": {view.because}" if view.because else "")


def _plan_text(plan: PlanNotRun) -> Text:
    why = "; ".join(plan.why) if plan.state == "held" else f"by {plan.by or 'somebody'}"
    text = Text.assemble("plan ", short(plan.id), "  ", status_text(plan.state))
    return text.append(f"  {ago(plan.at)}  {why}", "dim")


def _made_text(view: ExplainedPartition) -> Text:
    if view.materialized_at is None:
        return Text("not there yet", "dim")
    verb = "changed" if view.is_source else "made"
    text = Text(f"{verb} {ago(view.materialized_at)}, {view.materialized_at:%Y-%m-%d %H:%M:%S} UTC")
    if view.task_id:
        text.append(f", by {view.job} in task {short(view.task_id)}")
    if view.row_count is not None:
        text.append(f", {counted(view.row_count, 'row')}")
    return text


def _last(message: str | None) -> str:
    lines = (message or "").strip().splitlines()
    return lines[-1] if lines else ""
