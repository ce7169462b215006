"""Decisions on plans: apply, approve, reject."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from engine.flow.deployment import apply as applying
from engine.flow.deployment.apply import Applied
from engine.flow.planning import approve as approval
from engine.flow.planning.approve import Decision
from engine.flow.shared.org_context import OrgContext
from engine.service.caller import Caller, Role, requires
from engine.service.ids import plan_id
from engine.service.service import Service
from engine.store.database import Connection

__all__ = ["Applied", "Decision", "apply", "approve", "reject"]


@requires(Role.WRITER)
async def apply(caller: Caller, service: Service, plan: str) -> Applied:
    """Run a proposed plan exactly as it was shown, or return how it would differ now.

    Raises UnknownName, or InvalidInput if the plan is not proposed or cannot be planned.
    """
    async with service.transaction(caller) as (conn, org):
        return await applying.apply(conn, org, await plan_id(conn, org, plan), caller.user)


@requires(Role.WRITER)
async def approve(caller: Caller, service: Service, plans: Sequence[str]) -> list[Decision]:
    """Run plans pending approval; their invalidations are planned again in the current state.

    Each plan is a transaction of its own: one transaction for all would lock the tasks of one plan
    before those of the next, against the order in which completions lock. Every id is resolved
    before the first decision. Raises UnknownName, or InvalidInput if a plan is not held.
    """
    return await _decide(caller, service, approval.approve, plans)


@requires(Role.WRITER)
async def reject(caller: Caller, service: Service, plans: Sequence[str]) -> list[Decision]:
    """Reject plans pending approval; the partitions that they would have made stay stale.

    Transactions and errors are those of `approve`.
    """
    return await _decide(caller, service, approval.reject, plans)


async def _decide(
    caller: Caller,
    service: Service,
    decision: Callable[[Connection, OrgContext, UUID, str | None], Awaitable[Decision]],
    plans: Sequence[str],
) -> list[Decision]:
    async with service.connection(caller) as (conn, org):
        ids = [await plan_id(conn, org, plan) for plan in plans]
        return [await decision(conn, org, id_, caller.user) for id_ in ids]
