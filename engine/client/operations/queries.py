"""Queries of DAGs, datasets and work."""

from collections.abc import Sequence
from uuid import UUID

from engine.client.operations.sending import sends
from engine.client.server import AsyncServer
from engine.errors import InvalidInput
from engine.model.states import EventKind, PlanState, TaskStatus
from engine.service.checks.check import Check
from engine.service.queries import health
from engine.service.queries.attempts import TaskLog, task_log
from engine.service.queries.audit import Counts, audit
from engine.service.queries.awaited import Awaited, awaited
from engine.service.queries.datasets import DatasetRow, datasets
from engine.service.queries.dead_letters import DeadLetter, dead_letter, dead_letters
from engine.service.queries.events import FeedEvent, events
from engine.service.queries.explain_partition import ExplainedPartition, explain_partition
from engine.service.queries.explain_task import ExplainedTask, explain_task
from engine.service.queries.history import PastDeploy, VersionFile, file_of_version, history
from engine.service.queries.invalidations import InvalidationRow, invalidations
from engine.service.queries.jobs import JobRow, jobs
from engine.service.queries.lineage import Direction, LineageNode, lineage_tree
from engine.service.queries.partition_states import StateRow, partition_states
from engine.service.queries.plans import PlanRow, PlanView, plan, plans
from engine.service.queries.progress import Progress, build_of, progress
from engine.service.queries.schedules import ScheduleRow, schedules
from engine.service.queries.stale import StaleRow, stale
from engine.service.queries.status import Status, status
from engine.service.queries.tasks import TaskRow, tasks

_MOST_NEWEST = 1_000


@sends(status)
async def _status(server: AsyncServer) -> Status:
    return await server.status.get()


@sends(health.processes)
async def _processes(server: AsyncServer) -> Check:
    return await server.health.processes()


@sends(health.work)
async def _work(server: AsyncServer) -> list[Check]:
    return await server.health.work()


@sends(jobs)
async def _jobs(server: AsyncServer, dag: str | None = None) -> list[JobRow]:
    return await server.jobs.list(dag=dag).all()


@sends(datasets)
async def _datasets(server: AsyncServer, dag: str | None = None) -> list[DatasetRow]:
    return await server.datasets.list(dag=dag).all()


@sends(partition_states)
async def _partition_states(server: AsyncServer, dataset: str) -> list[StateRow]:
    return await server.datasets.partitions(dataset)


@sends(lineage_tree)
async def _lineage_tree(
    server: AsyncServer, dataset: str | None = None, direction: Direction = "down"
) -> tuple[LineageNode, ...]:
    if dataset is None:
        return tuple(await server.lineage.list(direction=direction))
    return tuple(await server.datasets.lineage(dataset, direction=direction))


@sends(stale)
async def _stale(
    server: AsyncServer, dataset: str | None = None, limit: int = 50
) -> list[StaleRow]:
    return await server.stale.list(dataset=dataset, limit=limit)


@sends(audit)
async def _audit(server: AsyncServer, dataset: str | None = None, *, limit: int = 100) -> Counts:
    return await server.audit.get(dataset=dataset, limit=limit)


@sends(explain_partition)
async def _explain_partition(
    server: AsyncServer, dataset: str, partition: str
) -> ExplainedPartition:
    return await server.datasets.explanation(dataset, partition)


@sends(explain_task)
async def _explain_task(server: AsyncServer, task: str) -> ExplainedTask:
    return await server.tasks.get(task)


@sends(tasks)
async def _tasks(
    server: AsyncServer,
    *,
    statuses: Sequence[TaskStatus] | None = None,
    job: str | None = None,
    partition: str | None = None,
    limit: int = 50,
) -> list[TaskRow]:
    return await server.tasks.list(status=statuses, job=job, partition=partition).first(limit)


@sends(task_log)
async def _task_log(server: AsyncServer, task: str, number: int | None = None) -> TaskLog:
    return await server.tasks.attempts(task, number=number)


@sends(plans)
async def _plans(
    server: AsyncServer, *, states: Sequence[PlanState] | None = None, limit: int = 50
) -> list[PlanRow]:
    return await server.plans.list(state=states).first(limit)


@sends(plan)
async def _plan(server: AsyncServer, plan: str) -> PlanView:
    return await server.plans.get(plan)


@sends(invalidations)
async def _invalidations(
    server: AsyncServer,
    *,
    dataset: str | None = None,
    only_open: bool = False,
    only_set_aside: bool = False,
    limit: int = 50,
) -> list[InvalidationRow]:
    found = server.invalidations.list(dataset=dataset, open=only_open, set_aside=only_set_aside)
    return await found.first(limit)


@sends(progress)
async def _progress(server: AsyncServer, invalidations: Sequence[UUID]) -> Progress:
    if not invalidations:
        return Progress(unplanned=0, tasks={}, is_moving=False)
    return await server.invalidations.progress(invalidations)


@sends(awaited)
async def _awaited(server: AsyncServer, invalidations: Sequence[UUID]) -> Awaited:
    return await server.invalidations.awaited(invalidations)


@sends(build_of)
async def _build_of(server: AsyncServer, version: UUID) -> list[UUID]:
    return (await server.invalidations.of_version(version)).invalidations


@sends(history)
async def _history(
    server: AsyncServer, dag: str | None = None, *, limit: int = 50
) -> list[PastDeploy]:
    deploys = server.deploys.list() if dag is None else server.dags.deploys(dag)
    return await deploys.first(limit)


@sends(file_of_version)
async def _file_of_version(server: AsyncServer, dag: str, version: int) -> VersionFile:
    return await server.dags.file(dag, version)


@sends(events)
async def _events(
    server: AsyncServer,
    *,
    after: int | None = None,
    kinds: Sequence[EventKind] | None = None,
    limit: int = 100,
) -> list[FeedEvent]:
    if after is None and limit > _MOST_NEWEST:
        raise InvalidInput(
            f"a server lists at most the {_MOST_NEWEST:,} newest events: give a smaller limit, or "
            "the position to continue after"
        )
    return await server.events.list(after=after, kinds=kinds).first(limit)


@sends(dead_letters)
async def _dead_letters(
    server: AsyncServer, *, with_done: bool = False, limit: int = 50
) -> list[DeadLetter]:
    return await server.dead_letters.list(done=with_done).first(limit)


@sends(dead_letter)
async def _dead_letter(server: AsyncServer, letter: str) -> DeadLetter:
    return await server.dead_letters.get(letter)


@sends(schedules)
async def _schedules(server: AsyncServer) -> list[ScheduleRow]:
    return await server.schedules.list().all()
