"""`knockon tasks`: list, show, retry and cancel."""

from collections.abc import Collection, Iterator
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.cli.commands._decisions import By
from engine.cli.global_options import GlobalOptions, command
from engine.cli.render.attempts import attempt_text
from engine.cli.render.console import show
from engine.cli.render.elements import ago, empty_table, short, status_text
from engine.cli.runtime.session import Session, run
from engine.errors import InvalidInput
from engine.model.states import UNFINISHED_STATUSES, TaskStatus
from engine.service.commands.tasks import Retried, cancel_all, retry_all
from engine.service.commands.tasks import cancel as cancel_tasks
from engine.service.commands.tasks import retry as retry_tasks
from engine.service.queries.explain_task import ExplainedTask, explain_task
from engine.service.queries.tasks import TaskRow
from engine.service.queries.tasks import tasks as list_tasks
from engine.wording import counted, some, summary

_MOST_LISTED = 20
_NOTHING = {
    TaskStatus.FAILED: "no task has failed",
    TaskStatus.CANCELED: "no canceled task has left a partition stale",
}
app = typer.Typer(add_completion=False, invoke_without_command=True)
_Ids = Annotated[
    list[str] | None,
    typer.Argument(help="Ids of tasks, or the last characters.", metavar="TASK"),
]
_Job = Annotated[str | None, typer.Option("--job", "-j", help="Job of the tasks, JOB or DAG.JOB.")]
_Id = Annotated[str, typer.Argument(help="Id of the task, or the last characters.", metavar="TASK")]


@app.callback()
@command
def tasks(
    options: GlobalOptions,
    status: Annotated[
        list[TaskStatus] | None,
        typer.Option("--status", "-s", help="Status of the tasks; repeatable."),
    ] = None,
    job: Annotated[
        str | None, typer.Option("--job", "-j", help="Job of the tasks, JOB or DAG.JOB.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", help="Output partition of the tasks.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Maximum number of tasks to list.")
    ] = 50,
) -> None:
    """List tasks, newest first; subcommands retry or cancel them."""
    rows = run(
        options,
        lambda session: list_tasks(
            session.caller(),
            session.service,
            statuses=status or None,
            job=job,
            partition=partition,
            limit=limit,
        ),
    )
    show(options, rows, _table)


@app.command("show")
@command
def show_(options: GlobalOptions, task: _Id) -> None:
    """Show a task: times, attempts, the whole error, inputs read and tasks upstream."""
    view = run(options, lambda session: explain_task(session.caller(), session.service, task))
    show(options, view, _details)


@app.command()
@command
def retry(
    options: GlobalOptions,
    tasks: _Ids = None,
    all_: Annotated[bool, typer.Option("--all", help="Retry tasks of all jobs.")] = False,
    job: _Job = None,
    status: Annotated[
        list[TaskStatus] | None,
        typer.Option("--status", "-s", help="failed (default) or canceled; repeatable."),
    ] = None,
) -> None:
    """Retry failed or canceled tasks, by id or all of a job or status.

    Failed tasks are queued again, with a full number of attempts. The partitions of canceled tasks
    are rebuilt by new tasks, unless newer tasks cover them.
    """
    _require_choice("retry", tasks, bool(all_ or job or status))

    chosen = status or [TaskStatus.FAILED]

    async def work(session: Session) -> Retried:
        if tasks:
            return await retry_tasks(session.caller(), session.service, tasks)
        return await retry_all(session.caller(), session.service, statuses=chosen, job=job)

    show(options, run(options, work), lambda view: _retried(view, chosen))


@app.command()
@command
def cancel(
    options: GlobalOptions,
    tasks: _Ids = None,
    all_: Annotated[bool, typer.Option("--all", help="Cancel tasks of all jobs.")] = False,
    job: _Job = None,
    status: Annotated[
        list[TaskStatus] | None,
        typer.Option("--status", "-s", help="Unfinished status; repeatable; default: all."),
    ] = None,
    by: By = None,
) -> None:
    """Cancel tasks, by id or all of a job or status.

    Dependents continue as if the outputs were unchanged.
    """
    _require_choice("cancel", tasks, bool(all_ or job or status))

    async def work(session: Session) -> int:
        if tasks:
            return len(await cancel_tasks(session.caller(by), session.service, tasks))
        chosen = status or UNFINISHED_STATUSES
        return await cancel_all(session.caller(by), session.service, statuses=chosen, job=job)

    show(
        options,
        {"canceled": run(options, work)},
        lambda view: Text(f"{counted(view['canceled'], 'task')} canceled"),
    )


def _require_choice(verb: str, tasks: list[str] | None, is_filtered: bool) -> None:
    if bool(tasks) == is_filtered:
        raise InvalidInput(f"name the tasks to {verb}, or pass --job, --status or --all")


def _details(view: ExplainedTask) -> RenderableType:
    task = view.task
    head = Text.assemble((f"{task.dag_name}.{task.job}", "bold"), "  ", status_text(task.status))
    table = Table.grid(padding=(0, 2))
    for name, value in _fields(view):
        if value:
            table.add_row(Text(name, "dim"), value)
    return Group(head, table)


def _fields(view: ExplainedTask) -> Iterator[tuple[str, str | Text]]:
    task = view.task
    yield "id", str(task.id)
    yield "partitions", some(task.partitions, _MOST_LISTED)
    yield "attempts", Text("\n").join(map(attempt_text, view.attempts)) or str(task.attempts)
    yield "worker", task.worker_id or ""
    for name in ("created_at", "started_at", "completed_at", "next_retry_at"):
        moment = getattr(task, name)
        yield name.removesuffix("_at").replace("_", " "), moment and moment.isoformat()
    yield "outcome", "" if task.error_message else task.note
    yield "error", Text(task.error_message or "", "red")
    yield "inputs", some(view.inputs, _MOST_LISTED)
    yield "upstream", some((f"{t.job}[{t.block_key}] {t.status}" for t in view.blockers), 10)
    yield "plans", some(map(short, task.plan_ids))


def _retried(view: Retried, statuses: Collection[TaskStatus]) -> RenderableType:
    """The counts, or the reason why there is nothing to retry among tasks in some statuses."""
    parts = []
    if view.queued:
        parts.append(f"{counted(view.queued, 'failed task')} queued again")
    if view.requested:
        tasks = counted(view.requested, "canceled task")
        parts.append(f"{tasks} to be planned anew, within the limits on approval")
    if view.covered:
        tasks = counted(view.covered, "canceled task")
        parts.append(f"{tasks} not retried, because newer tasks cover the partitions")
    if not parts:
        missing = " and ".join(_NOTHING[status] for status in _NOTHING if status in statuses)
        return Text(f"nothing to retry: {missing}", "dim")
    return Text("; ".join(parts))


def _table(rows: list[TaskRow]) -> RenderableType:
    if not rows:
        return Text("no such tasks", "dim")
    table = empty_table("task|", "status|", "job", "partitions", "tries>", "created|", "note")
    for row in rows:
        table.add_row(
            short(row.id),
            status_text(row.status),
            row.job,
            some(row.partitions, 3),
            str(row.attempts),
            ago(row.created_at),
            Text(summary(row.note), "dim"),
        )
    return table
