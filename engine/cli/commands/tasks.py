"""`knockon tasks`: list, show, retry and cancel."""

from collections.abc import Iterator
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
from engine.model.states import TaskStatus
from engine.service.commands.tasks import cancel as cancel_task
from engine.service.commands.tasks import retry as retry_tasks
from engine.service.commands.tasks import retry_failed
from engine.service.queries.explain_task import ExplainedTask, explain_task
from engine.service.queries.tasks import TaskRow
from engine.service.queries.tasks import tasks as list_tasks
from engine.wording import counted, some, summary

_MOST_LISTED = 20
app = typer.Typer(add_completion=False, invoke_without_command=True)
_Id = Annotated[str, typer.Argument(help="Id of the task, or the last characters.", metavar="TASK")]


@app.callback()
@command
def tasks(
    options: GlobalOptions,
    status: Annotated[
        list[TaskStatus] | None,
        typer.Option("--status", "-s", help="Status of the tasks; repeatable."),
    ] = None,
    job: Annotated[str | None, typer.Option("--job", "-j", help="Job of the tasks.")] = None,
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
    tasks: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of tasks, or the last characters.", metavar="TASK"),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Retry all failed tasks.")] = False,
    job: Annotated[
        str | None, typer.Option("--job", "-j", help="With --failed: job of the tasks.")
    ] = None,
) -> None:
    """Queue failed tasks again, with a full number of attempts."""
    if bool(tasks) == failed or (job and not failed):
        raise InvalidInput("name the tasks to retry, or pass --failed, optionally with --job")

    async def work(session: Session) -> int:
        if failed:
            return await retry_failed(session.caller(), session.service, job)
        return await retry_tasks(session.caller(), session.service, tasks or ())

    show(options, {"retried": run(options, work)}, _retried)


@app.command()
@command
def cancel(options: GlobalOptions, task: _Id, by: By = None) -> None:
    """Cancel a task; dependents continue as if its outputs were unchanged."""
    id_ = run(options, lambda session: cancel_task(session.caller(by), session.service, task))
    show(
        options,
        {"task": id_, "done": "canceled"},
        lambda view: Text(f"task {view['task']} is canceled"),
    )


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


def _retried(view: dict[str, int]) -> RenderableType:
    count = view["retried"]
    return Text(f"{counted(count, 'task')} {'is' if count == 1 else 'are'} queued again")


def _table(rows: list[TaskRow]) -> RenderableType:
    if not rows:
        return Text("no such tasks", "dim")
    table = empty_table("task", "status", "job", "partitions", "tries>", "created", "note")
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
