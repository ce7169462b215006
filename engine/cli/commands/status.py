"""`knockon status`."""

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from engine.cli.commands._empty import nothing_deployed
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.console import show
from engine.cli.render.elements import ago, counts_text, empty_table, short, status_text
from engine.cli.render.plan import estimate_text, subject_of
from engine.cli.runtime.session import run
from engine.model.states import FINISHED_STATUSES, UNFINISHED_STATUSES, TaskStatus
from engine.service.queries.status import Status, StuckTask
from engine.service.queries.status import status as read_status
from engine.wording import counted, some, span, summary

app = typer.Typer(add_completion=False)
_HELD_HINT = "knockon plans show PLAN, then knockon approve PLAN or knockon reject PLAN"
_PAUSED_HINT = "knockon resume KIND NAME"
_SET_ASIDE_HINT = "fix the cause, then knockon invalidations replay ID, or --all"
_ORDER = (*UNFINISHED_STATUSES, *FINISHED_STATUSES)


@app.command()
@command
def status(options: GlobalOptions) -> None:
    """Show the state of the org: deployed versions, open and stuck work, workers."""
    view = run(options, lambda session: read_status(session.caller(), session.service))
    head = None if view.dags else nothing_deployed(options)
    show(options, view, lambda view: _report(view, head))


def _report(view: Status, head: Text | None = None) -> RenderableType:
    tables = (
        (view.pauses, _pauses_table),
        (view.pending_approval, _held_table),
        (view.set_aside, _set_aside_table),
        (view.stuck, _stuck_table),
        (view.dags, _dags_table),
        (view.undeployed, _undeployed_table),
        (view.positions, _positions_table),
        (view.workers, _workers_table),
    )
    gathered = [Text(str(row), "dim") for row in view.gathering]
    shown = (table(view) for rows, table in tables if rows)
    missing = [Text(f"waits: {line}", "yellow") for line in view.missing]
    return Group(head or _summary(view), *missing, *gathered, _tasks(view), *shown)


def _summary(view: Status) -> Text:
    letters = counted(view.dead_letters, "dead letter")
    style = "yellow" if view.dead_letters else ""
    return Text.assemble(_state(view), "  ", _invalidations(view), "  ", (letters, style))


def _invalidations(view: Status) -> str:
    """The open invalidations; together as many as `knockon invalidations --open` lists."""
    parts = [counted(view.open_invalidations, "unplanned invalidation")]
    if view.oldest_seconds:
        parts.append(f"the oldest {span(view.oldest_seconds)} old")
    if view.invalidations_pending_approval:
        parts.append(f"{view.invalidations_pending_approval:,} pending approval")
    if view.held_back.invalidations:
        parts.append(f"{view.held_back.invalidations:,} paused")
    if view.set_aside_total:
        parts.append(f"{view.set_aside_total:,} set aside")
    return ", ".join(parts)


def _state(view: Status) -> tuple[str, str]:
    if view.missing and not view.tasks.get(TaskStatus.RUNNING):
        return "waiting for a process", "bold yellow"
    if view.is_moving:
        return "at work", "bold blue"
    if view.held_back.invalidations or view.held_back.tasks:
        return "paused", "bold yellow"
    if view.pending_approval:
        return "waiting for approval", "bold yellow"
    if view.tasks.get(TaskStatus.FAILED) or view.set_aside:
        return "stuck", "bold red"
    if view.is_at_rest:
        return ("at rest, with pauses", "bold yellow") if view.pauses else ("at rest", "bold green")
    # Tasks are blocked: by first runs without inputs, or without a cause, found by the audit.
    waits = any(task.waiting_for for task in view.stuck)
    return ("waiting for inputs", "bold yellow") if waits else ("stuck", "bold red")


def _tasks(view: Status) -> Text:
    if not view.tasks:
        return Text("no unfinished tasks, and none of the last 24 hours", "dim")
    text = Text("tasks  ").append_text(counts_text(view.tasks, _ORDER))
    paused = view.held_back.tasks
    return text.append(f"  {paused:,} of the queued paused", "yellow") if paused else text


def _undeployed_table(view: Status) -> RenderableType:
    table = empty_table("undeployed", "version>", "since|", "by")
    for dag in view.undeployed:
        table.add_row(dag.name, str(dag.version), ago(dag.undeployed_at), dag.by or "")
    return table


def _pauses_table(view: Status) -> RenderableType:
    table = empty_table("paused", "since|", "by", "reason")
    for pause in view.pauses:
        since, by = ago(pause.paused_at), pause.paused_by or ""
        table.add_row(pause.subject, since, by, pause.reason or "")
    return Group(table, Text(_PAUSED_HINT, "yellow"))


def _held_table(view: Status) -> RenderableType:
    table = empty_table(
        "plan pending approval", "change of", "tasks>", "age|", "estimate", "reason"
    )
    for plan in view.pending_approval:
        cost = estimate_text(plan.estimate)
        age, reason = ago(plan.created_at), "\n".join(plan.exceeded_limits)
        table.add_row(short(plan.id), subject_of(plan), f"{plan.tasks:,}", age, cost, reason)
    return Group(table, Text(_HELD_HINT, "yellow"))


def _set_aside_table(view: Status) -> RenderableType:
    table = empty_table("set aside|", "dataset", "part", "age|", "reason")
    for row in view.set_aside:
        part = row.partition_key or "all partitions"
        table.add_row(short(row.id), row.dataset, part, ago(row.set_aside_at), row.error)
    more = view.set_aside_total - len(view.set_aside)
    hint = f"{more:,} more; {_SET_ASIDE_HINT}" if more else _SET_ASIDE_HINT
    return Group(table, Text(hint, "yellow"))


def _stuck_table(view: Status) -> RenderableType:
    table = empty_table("stuck task|", "status|", "job", "block", "blocks>", "reason")
    for task in view.stuck:
        status, blocks = status_text(task.status), str(task.blocks)
        table.add_row(short(task.id), status, task.job, task.block_key, blocks, _stuck_reason(task))
    return table


def _stuck_reason(task: StuckTask) -> str:
    if task.waiting_for:
        waits = (f"{name} {some(keys)}" for name, keys in task.waiting_for.items())
        return f"waits for {'; '.join(waits)}"
    return summary(task.error)[:200]


def _dags_table(view: Status) -> RenderableType:
    table = empty_table("dag", "version>", "jobs>", "datasets>", "deployed|")
    for dag in view.dags:
        age = ago(dag.deployed_at)
        table.add_row(dag.name, str(dag.version), str(dag.jobs), str(dag.datasets), age)
    return table


def _positions_table(view: Status) -> RenderableType:
    table = empty_table("consumer", "stream", "position", "moved|", "behind>")
    for row in view.positions:
        behind = "" if row.lag is None else f"{row.lag:,}"
        moved = ago(row.updated_at)
        table.add_row(row.consumer, row.stream, row.position[:60], moved, behind)
    problems = (f"{row.stream}: {row.problem}" for row in view.positions if row.problem)
    return Group(table, *(Text(line, "yellow") for line in problems))


def _workers_table(view: Status) -> RenderableType:
    table = empty_table("worker", "running>", "seen|")
    for worker in view.workers:
        table.add_row(worker.id, str(worker.running), ago(worker.seen))
    return table
