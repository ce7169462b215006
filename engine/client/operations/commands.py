"""Commands that deploy, change data, decide on plans, and act on tasks."""

from collections.abc import Sequence
from uuid import UUID

from engine.client.operations.sending import sends
from engine.client.server import AsyncServer
from engine.model.dag import DagFile
from engine.model.event import SourceEvent
from engine.model.states import UNFINISHED_STATUSES, PauseKind, TaskStatus
from engine.service.commands import tasks
from engine.service.commands.audit import mend
from engine.service.commands.backfills import Impact, Requested, backfill, propose_backfill
from engine.service.commands.dead_letters import (
    Replayed,
    discard,
    discard_all,
    replay,
    replay_all,
)
from engine.service.commands.deploys import Deploy, deploy
from engine.service.commands.invalidations import invalidate
from engine.service.commands.invalidations import replay as replay_set_aside
from engine.service.commands.invalidations import replay_all as replay_all_set_aside
from engine.service.commands.jobs import run
from engine.service.commands.pauses import RequestedPause, pause, resume
from engine.service.commands.plans import Applied, Review, apply, approve, reject
from engine.service.commands.proposals import propose
from engine.service.commands.undeploys import Undeployed, preview_undeploy_of, undeploy
from engine.service.queries.audit import Counts
from engine.service.queries.deploys import preview
from engine.service.queries.pauses import Pause


@sends(deploy)
async def _deploy(server: AsyncServer, dags: Sequence[DagFile]) -> Deploy:
    return await server.deploys.create([*map(_text, dags)])


@sends(preview)
async def _preview(server: AsyncServer, dags: Sequence[DagFile]) -> Deploy:
    return await server.deploys.create([*map(_text, dags)], dry_run=True)


def _text(dag: DagFile) -> str:
    """Return the file as written, or its content with SQL files and hashes of code as JSON."""
    if dag.source_map.text and not any(job.code for job in dag.jobs):
        return dag.source_map.text
    return dag.written


@sends(undeploy)
async def _undeploy(server: AsyncServer, dag: str, *, drop_tables: bool = False) -> Undeployed:
    return await server.dags.undeploy(dag, drop_tables=drop_tables)


@sends(preview_undeploy_of)
async def _preview_undeploy_of(
    server: AsyncServer, dag: str, *, drop_tables: bool = False
) -> Undeployed:
    return await server.dags.undeploy(dag, drop_tables=drop_tables, dry_run=True)


@sends(invalidate)
async def _invalidate(server: AsyncServer, event: SourceEvent) -> Requested:
    return await server.invalidations.create(
        event.dataset,
        partitions=event.partitions,
        columns=event.columns,
        rows=event.rows,
        reason=event.reason,
        version=event.version,
        note=event.note,
        fingerprint=event.fingerprint,
        idempotency_key=event.id,
    )


@sends(propose)
async def _propose(server: AsyncServer, event: SourceEvent) -> Impact:
    return await server.plans.create(
        event.dataset,
        partitions=event.partitions,
        columns=event.columns,
        rows=event.rows,
        reason=event.reason,
    )


@sends(run)
async def _run(
    server: AsyncServer, job: str, partitions: tuple[str, ...] | None = None
) -> Requested:
    return await server.jobs.run(job, partitions=partitions)


@sends(backfill)
async def _backfill(server: AsyncServer, target: str, partitions: Sequence[str]) -> Requested:
    return await server.backfills.create(target, partitions)


@sends(propose_backfill)
async def _propose_backfill(server: AsyncServer, target: str, partitions: Sequence[str]) -> Impact:
    return await server.backfills.propose(target, partitions)


@sends(mend)
async def _mend(server: AsyncServer, dataset: str | None = None, *, limit: int = 100) -> Counts:
    return await server.audit.mend(dataset=dataset, limit=limit)


@sends(apply)
async def _apply(server: AsyncServer, plan: str) -> Applied:
    return await server.plans.apply(plan)


@sends(approve)
async def _approve(server: AsyncServer, plans: Sequence[str]) -> list[Review]:
    return await server.plans.approve_many(plans)


@sends(reject)
async def _reject(server: AsyncServer, plans: Sequence[str]) -> list[Review]:
    return await server.plans.reject_many(plans)


@sends(tasks.retry)
async def _retry(server: AsyncServer, tasks: Sequence[str]) -> tasks.Retried:
    return await server.tasks.retry_many(ids=tasks)


@sends(tasks.retry_all)
async def _retry_all(
    server: AsyncServer,
    *,
    statuses: Sequence[TaskStatus] = (TaskStatus.FAILED,),
    job: str | None = None,
) -> tasks.Retried:
    return await server.tasks.retry_many(statuses=statuses, job=job)


@sends(tasks.cancel)
async def _cancel(server: AsyncServer, tasks: Sequence[str]) -> list[UUID]:
    return (await server.tasks.cancel_many(ids=tasks)).tasks


@sends(tasks.cancel_all)
async def _cancel_all(
    server: AsyncServer,
    *,
    statuses: Sequence[TaskStatus] = UNFINISHED_STATUSES,
    job: str | None = None,
) -> int:
    return (await server.tasks.cancel_many(statuses=statuses, job=job)).canceled


@sends(pause)
async def _pause(
    server: AsyncServer, kind: PauseKind, name: str | None = None, *, reason: str | None = None
) -> RequestedPause:
    return await server.pauses.create(kind, name=name, reason=reason)


@sends(resume)
async def _resume(server: AsyncServer, kind: PauseKind, name: str | None = None) -> Pause:
    return await server.pauses.resume(kind, name=name)


@sends(replay)
async def _replay(server: AsyncServer, ids: Sequence[str]) -> list[Replayed]:
    return await server.dead_letters.replay_many(ids=ids)


@sends(replay_all)
async def _replay_all(server: AsyncServer) -> list[Replayed]:
    return await server.dead_letters.replay_many()


@sends(discard)
async def _discard(server: AsyncServer, ids: Sequence[str], *, reason: str) -> list[UUID]:
    return (await server.dead_letters.discard_many(reason, ids=ids)).letters


@sends(discard_all)
async def _discard_all(
    server: AsyncServer, *, stream: str | None = None, error: str | None = None, reason: str
) -> int:
    found = await server.dead_letters.discard_many(reason, stream=stream, error=error)
    return found.discarded


@sends(replay_set_aside)
async def _replay_set_aside(
    server: AsyncServer, ids: Sequence[str], *, whole: bool = False
) -> list[UUID]:
    return (await server.invalidations.replay(ids=ids, whole=whole)).invalidations


@sends(replay_all_set_aside)
async def _replay_all_set_aside(server: AsyncServer, *, whole: bool = False) -> list[UUID]:
    return (await server.invalidations.replay(whole=whole)).invalidations
