"""Audit of stale partitions: pending work, decisions, or neither."""

from engine.flow.planning.audit import Counts, StalePartition, audit_all
from engine.flow.planning.pending_work import Verdict
from engine.flow.shared.stale import StaleReason, StaleRule
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.service import Service

__all__ = ["Counts", "StalePartition", "StaleReason", "StaleRule", "Verdict", "audit"]


@requires(Role.READER)
async def audit(
    caller: Caller, service: Service, dataset: str | None = None, *, limit: int = 100
) -> Counts:
    """Audit the org or one dataset; list at most ``limit`` stale partitions, lost ones first.

    Each slice of partitions has a separate transaction: a snapshot for the whole audit would keep
    the server from removing dead rows. Raises UnknownName.
    """
    async with service.connection(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        if dataset is not None:
            dataset_named(await org.lineage(conn), dataset, visible)
        return await audit_all(conn, org, dataset, most=limit, hidden=visible.job_names)
