"""Wait, with a progress bar, for the tasks of invalidations."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Annotated
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from engine.cli.render.console import errors
from engine.cli.render.elements import short
from engine.cli.runtime.session import Session
from engine.cli.runtime.watch import Watch, watching
from engine.errors import InvalidInput, TaskFailed
from engine.model.states import TaskStatus
from engine.service.queries.awaited import awaited
from engine.service.queries.progress import Progress, progress
from engine.wording import counted, some

_POLL_SECONDS = 0.5
_MINIMUM_INTERVAL_SECONDS = 0.1
"""Every task may notify, and every query counts all tasks."""
_PAUSED_SECONDS = 2.0
_UNSERVED_SECONDS = 30.0
"""Time without any progress after which no process is assumed to serve the work."""


def _require_wait(context: typer.Context, timeout: float | None) -> float | None:
    if timeout is not None and not context.params["wait"]:
        raise InvalidInput("--timeout limits a wait: add --wait, or leave out --timeout")
    return timeout


Wait = Annotated[
    bool,
    # Eager, so that it is parsed before --timeout.
    typer.Option("--wait", is_eager=True, help="Wait until everything affected is recomputed."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0.0,
        callback=_require_wait,
        help="With --wait: most seconds to wait; default: none.",
    ),
]


def check_wait(*, wait: bool, dry_run: bool) -> None:
    """Raise InvalidInput if a command is to wait for a preview."""
    if wait and dry_run:
        raise InvalidInput("--dry-run starts nothing to wait for: leave out --wait or --dry-run")


async def wait_for(
    session: Session, invalidations: Sequence[UUID], most_seconds: float | None = None
) -> Progress:
    """Wait for the end of all tasks, except for first runs that wait for inputs.

    Raises TaskFailed unless all of them succeed within ``most_seconds``, or if nothing continues
    them: for half a minute no process has served them, or everything is paused. Raises OutdatedCode
    if a migration requires newer code meanwhile.
    """
    async with watching(session) as watch:
        with _bar() as bar:
            patience = _Patience(session, invalidations, most_seconds)
            last = await _watch(session, invalidations, bar, watch, patience)
        if not last.is_over:
            watch.check()
            raise TaskFailed(patience.refusal)
    if not last.is_good:
        raise TaskFailed(_failure(last))
    if last.waits_for_inputs:
        blocked = counted(last.tasks[TaskStatus.BLOCKED], "task")
        errors().print(f"{blocked} blocked until inputs exist: see 'knockon status'")
    return last


async def _watch(
    session: Session,
    invalidations: Sequence[UUID],
    bar: Bar,
    watch: Watch,
    patience: "_Patience",
) -> Progress:
    line = bar.add_task("planning", total=None)
    while True:
        now = await progress(session.caller(), session.service, invalidations)
        _update(bar, line, now)
        if now.is_over or watch.is_outdated or await patience.is_exhausted(now):
            return now
        await asyncio.sleep(_MINIMUM_INTERVAL_SECONDS)
        await watch.wait(_POLL_SECONDS)


class _Patience:
    """Ends a wait after its timeout, or when no process serves the work."""

    def __init__(
        self, session: Session, invalidations: Sequence[UUID], most_seconds: float | None
    ) -> None:
        self._session = session
        self._invalidations = invalidations
        self._most_seconds = most_seconds
        self._began = self._moved = monotonic()
        self._last: tuple[int, int] | None = None
        self.refusal = ""

    async def is_exhausted(self, now: Progress) -> bool:
        """Return true, with the ``refusal``, if waiting has no prospect or took too long."""
        time, state = monotonic(), (now.unplanned, now.finished)
        if now.tasks.get(TaskStatus.RUNNING) or state != self._last:
            self._moved, self._last = time, state
        idle = time - self._moved
        is_late = self._most_seconds is not None and time - self._began >= self._most_seconds
        if not is_late and idle < _PAUSED_SECONDS:
            return False
        work = await awaited(self._session.caller(), self._session.service, self._invalidations)
        is_unserved = idle >= _UNSERVED_SECONDS and bool(work.missing) and not work.is_moving
        if is_late:
            missing = "" if work.is_moving or not work.missing else f": {work.missing}"
            self.refusal = f"after {self._most_seconds:g} s there is still {work}{missing}"
        elif work.is_paused or is_unserved:
            self.refusal = f"nothing continues {work}: {work.missing}"
        return bool(self.refusal)


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
