"""Wait, with a progress bar, for the tasks of invalidations."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from engine.cli.render.console import errors
from engine.cli.render.elements import short
from engine.cli.runtime.session import Session
from engine.errors import TaskFailed
from engine.loops.notification_listener import NotificationListener
from engine.loops.schema_watch import SchemaWatch
from engine.model.states import TaskStatus
from engine.service.queries.progress import Progress, progress
from engine.wording import counted, some

_POLL_SECONDS = 0.5
_MINIMUM_INTERVAL_SECONDS = 0.1
"""Every task may notify, and every query counts all tasks."""
_IDLE_QUERIES_BEFORE_HINT = 20
_HINT = "still waiting: are 'knockon engine' and 'knockon worker', or 'knockon up', running?"


async def wait_for(session: Session, invalidations: Sequence[UUID]) -> Progress:
    """Wait for the end of all tasks, except for first runs that wait for inputs.

    Raises TaskFailed unless all of them succeed, and OutdatedCode if a migration requires newer
    code meanwhile.
    """
    stop = asyncio.Event()
    notifications = session.service.task_notifications()
    async with SchemaWatch(session.database) as watch:
        async with asyncio.TaskGroup() as group:
            group.create_task(notifications.run(stop))
            with _bar() as bar:
                last = await _watch(session, invalidations, notifications, bar, watch)
            stop.set()
        if not last.is_over:
            watch.check()
    if not last.is_good:
        raise TaskFailed(_failure(last))
    if last.waits_for_inputs:
        blocked = counted(last.tasks[TaskStatus.BLOCKED], "task")
        errors().print(f"{blocked} blocked until inputs exist: see 'knockon status'")
    return last


async def _watch(
    session: Session,
    invalidations: Sequence[UUID],
    notifications: NotificationListener,
    bar: Bar,
    watch: SchemaWatch,
) -> Progress:
    line = bar.add_task("planning", total=None)
    idle = 0
    while True:
        now = await progress(session.caller(), session.service, invalidations)
        _update(bar, line, now)
        if now.is_over or watch.is_outdated:
            return now
        idle = 0 if now.tasks.get(TaskStatus.RUNNING) else idle + 1
        if idle == _IDLE_QUERIES_BEFORE_HINT:
            bar.console.print(_HINT)
        await asyncio.sleep(_MINIMUM_INTERVAL_SECONDS)
        await notifications.wait(_POLL_SECONDS)


def _update(bar: Bar, line: TaskID, now: Progress) -> None:
    if not now.unplanned:
        running = now.tasks.get(TaskStatus.RUNNING, 0)
        description = f"{running} running" if running else "waiting for a worker"
        bar.update(line, description=description, total=now.total, completed=now.finished)


def _bar() -> Bar:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Bar(*columns, TimeElapsedColumn(), console=errors(), transient=True)


def _failure(last: Progress) -> str:
    if last.set_aside:
        return (
            f"cannot be planned, and was set aside: {last.set_aside[0]}; fix the cause, then run "
            "'knockon invalidations replay --all'"
        )
    if last.pending_approval:
        ids = " ".join(map(short, last.pending_approval))
        return (
            f"pending approval: 'knockon status' shows the reason, 'knockon approve {ids}' runs it"
        )
    if last.rejected:
        return f"nothing was recomputed: plan {some(map(short, last.rejected))} was rejected"
    states = ", ".join(f"{count} {status}" for status, count in sorted(last.tasks.items()))
    return f"not all tasks succeeded: {states}; see 'knockon status' and 'knockon explain TASK'"
