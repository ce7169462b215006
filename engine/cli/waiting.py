"""Waiting, with a bar, until the waves of some invalidations are over."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from engine.cli.output import errors, short
from engine.cli.session import Session
from engine.errors import TaskFailed
from engine.loops.doorbell import Doorbell
from engine.service.queries.progress import Progress, progress
from engine.wording import some

_POLL_SECONDS = 0.5
_BETWEEN_LOOKS_SECONDS = 0.1  # a bell may ring for every task, and a look counts them all
_PATIENCE = 20
"""Looks without anything running, after which it is worth a word."""
_HINT = "still waiting: are 'knockon engine' and 'knockon worker', or 'knockon up', running?"


async def wait_for(session: Session, invalidations: Sequence[UUID]) -> Progress:
    """Return when all their tasks are over; Raises TaskFailed when some cannot come to an end."""
    stop = asyncio.Event()
    bell = session.service.task_notifications()
    async with asyncio.TaskGroup() as group:
        group.create_task(bell.run(stop))
        with _bar() as bar:
            last = await _watch(session, invalidations, bell, bar)
        stop.set()
    if not last.is_good:
        raise TaskFailed(_left_over(last))
    return last


async def _watch(
    session: Session, invalidations: Sequence[UUID], bell: Doorbell, bar: Bar
) -> Progress:
    line = bar.add_task("planning", total=None)
    idle = 0
    while True:
        now = await progress(session.caller(), session.service, invalidations)
        _update(bar, line, now)
        if now.is_over:
            return now
        idle = 0 if now.tasks.get("running") else idle + 1
        if idle == _PATIENCE:
            bar.console.print(_HINT)
        await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)
        await bell.wait(_POLL_SECONDS)


def _update(bar: Bar, line: TaskID, now: Progress) -> None:
    if not now.unplanned:
        running = now.tasks.get("running", 0)
        what = f"{running} running" if running else "waiting for a worker"
        bar.update(line, description=what, total=now.total, completed=now.finished)


def _bar() -> Bar:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Bar(*columns, TimeElapsedColumn(), console=errors(), transient=True)


def _left_over(last: Progress) -> str:
    if last.set_aside:
        return (
            f"it cannot be planned, and is set aside: {last.set_aside[0]}; fix the cause, then "
            "'knockon invalidations replay --all'"
        )
    if last.held:
        ids = " ".join(map(short, last.held))
        return (
            f"it is held for approval: 'knockon status' says why, 'knockon approve {ids}' runs it"
        )
    if last.rejected:
        return f"nothing runs for it: plan {some(map(short, last.rejected))} was rejected"
    states = ", ".join(f"{count} {status}" for status, count in sorted(last.tasks.items()))
    return f"not all tasks came through: {states}; see 'knockon status' and 'knockon explain TASK'"
