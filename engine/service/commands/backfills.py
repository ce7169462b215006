"""Backfills: build partitions of a dataset, whether they exist or not."""

from collections.abc import Sequence

from consumers import manual
from consumers.manual import Requested
from engine.errors import InvalidInput
from engine.lineage.graph import Lineage
from engine.lineage.job_names import find_job
from engine.model.event import SourceEvent
from engine.model.states import Reason, Role
from engine.service.caller import Caller, requires
from engine.service.commands.proposals import Impact, propose
from engine.service.service import Service
from engine.service.visibility import Visibility

__all__ = ["Impact", "Requested", "backfill", "propose_backfill"]


@requires(Role.WRITER)
async def backfill(
    caller: Caller, service: Service, target: str, partitions: Sequence[str]
) -> Requested:
    """Request the build of partitions of a dataset or of a job's first output.

    The request is planned like any change, and pending approval beyond a limit. Raises UnknownName,
    InvalidInput for a source or an impossible partition, and TooManyEvents.
    """
    await service.admit_events(caller)
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        event = _event(await org.lineage(conn), visible, target, partitions)
        return await manual.invalidate(conn, org, event, caller.user)


@requires(Role.WRITER)
async def propose_backfill(
    caller: Caller, service: Service, target: str, partitions: Sequence[str]
) -> Impact:
    """Plan a backfill without effect, and store the plan. Raises as `backfill` does."""
    async with service.snapshot(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        event = _event(await org.lineage(conn), visible, target, partitions)
    return await propose(caller, service, event)


def _event(
    lineage: Lineage, visible: Visibility, target: str, partitions: Sequence[str]
) -> SourceEvent:
    dataset = _dataset(lineage, visible, target)
    return SourceEvent(
        dataset=dataset,
        partitions=tuple(partitions),
        reason=Reason.MANUAL,
        source="knockon backfill",
    )


def _dataset(lineage: Lineage, visible: Visibility, target: str) -> str:
    """Return the dataset with this name, or the first output of the job with this name."""
    producers = {
        lineage.dataset(id_).name: job
        for job in visible.visible_jobs(lineage)
        for id_ in job.outputs
    }
    job = producers[target] if target in producers else find_job(lineage, target, visible.job_names)
    dataset = target if target in producers else lineage.dataset(job.outputs[0]).name
    if job.is_source:
        raise InvalidInput(
            f"{dataset!r} is a source, which no job builds: report its partitions with "
            f"'knockon invalidate {dataset}'"
        )
    return dataset
