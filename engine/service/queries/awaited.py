"""The work that a request waits for, and what is missing to carry it out."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec

from engine.flow.shared.pauses import Pauses, load_pauses
from engine.model.states import PauseKind, Role, TaskStatus
from engine.service.caller import Caller, requires
from engine.service.queries.invalidations import visible_invalidations
from engine.service.queries.served import load_served, missing_engine, missing_worker
from engine.service.service import Service
from engine.store.rows.pauses import Gathering, Pause
from engine.store.rows.views import AwaitedInvalidations, AwaitedTasks, LatelyServed
from engine.store.run import fetch
from engine.wording import counted, some


class Awaited(msgspec.Struct, frozen=True):
    """Unfinished work of a request, with the pauses that hold part of it back.

    ``gathering`` has the datasets whose invalidations are gathered for a while. ``served`` has the
    runtimes and the planning that were lately at work on anything.
    """

    tasks: tuple[AwaitedTasks, ...]
    invalidations: tuple[AwaitedInvalidations, ...]
    pauses: tuple[Pause, ...]
    served: LatelyServed
    gathering: tuple[Gathering, ...] = ()

    @property
    def is_moving(self) -> bool:
        """Return true if a task runs, or if work continues after a delay."""
        is_running = any(row.status == TaskStatus.RUNNING or row.delayed for row in self.tasks)
        return is_running or bool(self.gathering)

    @property
    def unpaused_runtimes(self) -> tuple[str, ...]:
        """Return the runtimes of queued tasks that no pause holds back."""
        paused = Pauses(self.pauses)
        queued = [row for row in self.tasks if row.status == TaskStatus.QUEUED]
        unpaused = [row.runtime for row in queued if not paused.of_job(row.dag_name, row.job)]
        return tuple(dict.fromkeys(unpaused))

    @property
    def unpaused_datasets(self) -> tuple[str, ...]:
        """Return the datasets with unplanned invalidations that no pause holds back."""
        if any(pause.kind == PauseKind.ORG for pause in self.pauses):
            return ()
        paused = {pause.name for pause in self.pauses if pause.kind == PauseKind.DATASET}
        return tuple(row.dataset for row in self.invalidations if row.dataset not in paused)

    @property
    def is_paused(self) -> bool:
        """Return true if nothing can continue before a resume."""
        continues = self.is_moving or self.unpaused_runtimes or self.unpaused_datasets
        return bool(self.pauses) and not continues

    @property
    def missing(self) -> str:
        """Return the processes and decisions that the work needs to continue."""
        return "; ".join(self._missing())

    def _missing(self) -> Iterator[str]:
        datasets = self.unpaused_datasets
        if datasets and not self.served.is_planning:
            yield missing_engine(f"the change of {some(datasets)}")
        for runtime in self.unpaused_runtimes:
            if runtime not in self.served.runtimes:
                yield missing_worker(runtime)
        for pause in self.pauses:
            yield f"{pause}: 'knockon resume {pause.kind} {pause.name}".rstrip() + "' continues it"

    def __str__(self) -> str:
        changes = (
            f"{counted(row.invalidations, 'unplanned invalidation')} of {row.dataset}"
            for row in self.invalidations
        )
        tasks = (f"{counted(row.tasks, 'task')} of {row.job} {row.status}" for row in self.tasks)
        return some([*changes, *tasks, *map(str, self.gathering)], 6)


@requires(Role.READER)
async def awaited(caller: Caller, service: Service, invalidations: Sequence[UUID]) -> Awaited:
    """Return the unfinished work of invalidations, including tasks upstream."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        ids = await visible_invalidations(conn, org, visible, invalidations)
        params: dict[str, Any] = {"org_id": org.id, "ids": ids}
        tasks = await fetch(conn, "views.awaited_tasks", AwaitedTasks, **params)
        tasks = [row for row in tasks if f"{row.dag_name}.{row.job}" not in visible.job_names]
        changes = await fetch(conn, "views.awaited_invalidations", AwaitedInvalidations, **params)
        pauses = await load_pauses(conn, org)
        gathered = await fetch(conn, "pauses.gathering", Gathering, org_id=org.id)
        served = await load_served(conn, org)
    datasets = {row.dataset for row in changes}
    gathering = tuple(row for row in gathered if row.dataset in datasets)
    queued = [row for row in tasks if row.status == TaskStatus.QUEUED]
    of_jobs = [pauses.of_job(row.dag_name, row.job) for row in queued]
    of_datasets = [pauses.of_dataset(row.dataset) for row in changes]
    holding = tuple(dict.fromkeys(pause for pause in (*of_datasets, *of_jobs) if pause))
    return Awaited(tuple(tasks), tuple(changes), holding, served, gathering)
