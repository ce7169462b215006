"""Sweeps: removal of old versions of DAGs and datasets."""

from engine.errors import InvalidInput
from engine.flow.retention import sweep as sweeping
from engine.flow.retention.sweep import SweepPreview, Swept
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.service import Service

__all__ = ["SweepPreview", "Swept", "preview_sweep", "sweep"]


@requires(Role.ADMIN)
async def preview_sweep(caller: Caller, service: Service, days: float) -> SweepPreview:
    """Count what a sweep would remove. Raises InvalidInput for a negative period."""
    async with service.snapshot(caller) as (conn, org):
        return await sweeping.preview_sweep(conn, org, _period(days))


@requires(Role.ADMIN)
async def sweep(caller: Caller, service: Service, days: float) -> Swept:
    """Remove the DAG versions that were last current some days ago, in many short transactions.

    An interrupted sweep is continued by the next. Raises InvalidInput for a negative period.
    """
    total, days = Swept(), _period(days)
    async with service.connection(caller) as (conn, org):
        while (swept := await sweeping.sweep(conn, org, days)) is not None:
            total += swept
    return total


def _period(days: float) -> float:
    if not days >= 0:
        raise InvalidInput(f"{days} days are no period: give a number from 0")
    return days
