"""`knockon tasks`, and what an operator does to some of them."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Annotated
from uuid import UUID

import typer
from rich.console import RenderableType
from rich.text import Text

from engine.api.tasks import TaskRow, task_id
from engine.api.tasks import tasks as list_tasks
from engine.cli.call import Call, command
from engine.cli.decided import By
from engine.cli.output import ago, counted, short, show, some, status_text, table
from engine.cli.session import Session, run
from engine.errors import InvalidInput
from engine.flow import byhand
from engine.flow.scene import Scene
from engine.store.database import Connection

app = typer.Typer(add_completion=False, invoke_without_command=True)
_Order = Callable[[Connection, Scene, UUID], Awaitable[None]]
_Id = Annotated[str, typer.Argument(help="Id of the task, or the last characters.", metavar="TASK")]


class Status(StrEnum):
    """What a task may be in."""

    blocked = "blocked"
    queued = "queued"
    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    skipped = "skipped"
    canceled = "canceled"


@app.callback()
@command
def tasks(
    call: Call,
    status: Annotated[
        list[Status] | None, typer.Option("--status", "-s", help="Status of the tasks; repeatable.")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", "-j", help="Job of the tasks.")] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", help="Output partition of the tasks.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most tasks to list.")] = 50,
) -> None:
    """List tasks, newest first; or retry or cancel some."""

    async def work(session: Session) -> list[TaskRow]:
        statuses = [each.value for each in status] if status else None
        async with session.connection() as conn:
            return await list_tasks(
                conn,
                session.scene,
                statuses=statuses,
                job=job,
                partition=partition,
                limit=limit,
            )

    show(call, run(call, work), _listed)


@app.command()
@command
def retry(
    call: Call,
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
        raise InvalidInput("name the tasks to retry, or pass --failed, with --job for one job's")

    async def work(session: Session) -> int:
        async with session.connection() as conn:
            if failed:
                return await byhand.retry_failed(conn, session.scene, job)
            found = [await task_id(conn, session.scene, each) for each in tasks or ()]
            await byhand.retry(conn, session.scene, *found)
            return len(set(found))

    show(call, {"retried": run(call, work)}, _retried)


@app.command()
@command
def cancel(call: Call, task: _Id, by: By = None) -> None:
    """Cancel a task; dependents continue as if its outputs were unchanged."""
    _order(call, task, partial(byhand.cancel, by=by), "canceled")


def _order(call: Call, task: str, order: _Order, done: str) -> None:
    async def work(session: Session) -> UUID:
        async with session.connection() as conn:
            found = await task_id(conn, session.scene, task)
            await order(conn, session.scene, found)
            return found

    show(
        call,
        {"task": run(call, work), "done": done},
        lambda view: Text(f"task {view['task']} is {done}"),
    )


def _retried(view: dict[str, int]) -> RenderableType:
    count = view["retried"]
    return Text(f"{counted(count, 'task')} {'is' if count == 1 else 'are'} queued again")


def _listed(rows: list[TaskRow]) -> RenderableType:
    if not rows:
        return Text("no such tasks", "dim")
    made = table("task", "status", "job", "partitions", "tries>", "created", "note")
    for each in rows:
        note = each.note.strip().splitlines()[-1] if each.note.strip() else ""
        made.add_row(
            short(each.id),
            status_text(each.status),
            each.job,
            some(each.partitions, 3),
            str(each.attempts),
            ago(each.created_at),
            Text(note, "dim"),
        )
    return made
