"""Stale partitions, root causes first."""

from datetime import datetime

import msgspec

from engine.flow.planning.audit import StalePartition, audit
from engine.flow.planning.pending_work import Verdict
from engine.flow.shared.stale import StaleReason
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.service import Service


class StaleRow(msgspec.Struct, frozen=True):
    """A stale partition; ``since`` is the earliest change of an input that it lacks.

    ``since`` is null if no input has changed. ``explained_by`` names the pending work or the
    decision to leave the partition stale.
    """

    dag: str
    dataset: str
    partition: str
    since: datetime | None
    verdict: Verdict
    explained_by: str | None
    reasons: tuple[StaleReason, ...]


@requires(Role.READER)
async def stale(
    caller: Caller, service: Service, dataset: str | None = None, limit: int = 50
) -> list[StaleRow]:
    """List stale partitions of the org or of one dataset, in the order of the lineage.

    A partition is stale because of datasets listed before it. Raises UnknownName.
    """
    rows: list[StaleRow] = []
    async with service.connection(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        if dataset is not None:
            dataset_named(await org.lineage(conn), dataset, visible)
        async for part in audit(conn, org, dataset, hidden=visible.job_names):
            rows += map(_row, part.stale)
            if len(rows) >= limit:
                break
    return rows[:limit]


def _row(found: StalePartition) -> StaleRow:
    versions = [reason.version for reason in found.reasons if reason.version is not None]
    return StaleRow(
        dag=found.dag,
        dataset=found.dataset,
        partition=found.partition,
        since=min(versions, default=None),
        verdict=found.verdict,
        explained_by=found.explained_by,
        reasons=found.reasons,
    )
