"""Repair of lost partitions."""

from engine.flow.planning.audit import Counts, audit_all
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.service import Service


@requires(Role.WRITER)
async def mend(
    caller: Caller, service: Service, dataset: str | None = None, *, limit: int = 100
) -> Counts:
    """Audit the org or one dataset, and invalidate lost partitions.

    Each slice of partitions is audited and repaired in a separate transaction, as in `audit`.
    Raises UnknownName.
    """
    async with service.connection(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        if dataset is not None:
            dataset_named(await org.lineage(conn), dataset, visible)
        return await audit_all(conn, org, dataset, mend=True, most=limit, hidden=visible.job_names)
