"""Decisions on plans: apply, approve, reject."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

from engine.flow.deployment import apply as applying
from engine.flow.deployment.apply import Applied
from engine.flow.deployment.deploy import approve as approve_plan
from engine.flow.planning import approve as approval
from engine.flow.planning.approve import Review
from engine.flow.shared.org_context import OrgContext
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.deadlocks import again_after_deadlock
from engine.service.ids import plan_id
from engine.service.service import Service
from engine.store.database import Connection

__all__ = ["Applied", "Review", "apply", "approve", "reject"]


@requires(Role.WRITER)
async def apply(caller: Caller, service: Service, plan: str) -> Applied:
    """Run a proposed plan exactly as shown, or return the differences from a current plan.

    Raises UnknownName, or InvalidInput if the plan is not proposed or cannot be planned.
    """
    async with service.transaction(caller) as (conn, org):
        return await applying.apply(conn, org, await plan_id(conn, org, plan), caller.user)


@requires(Role.WRITER)
async def approve(caller: Caller, service: Service, plans: Sequence[str]) -> list[Review]:
    """Run plans pending approval, planned again in the current state; of deploys as well.

    Each plan has a separate transaction: a common transaction would lock tasks plan by plan,
    against the lock order of completions. All ids are resolved before the first approval. Raises
    UnknownName, or InvalidInput if a plan is not pending approval.
    """
    return await _review(caller, service, approve_plan, plans)


@requires(Role.WRITER)
async def reject(caller: Caller, service: Service, plans: Sequence[str]) -> list[Review]:
    """Reject plans pending approval; the affected partitions stay stale.

    Transactions and errors are those of `approve`.
    """
    return await _review(caller, service, approval.reject, plans)


async def _review(
    caller: Caller,
    service: Service,
    review: Callable[[Connection, OrgContext, UUID, str | None], Awaitable[Review]],
    plans: Sequence[str],
) -> list[Review]:
    async with service.connection(caller) as (conn, org):
        ids = [await plan_id(conn, org, plan) for plan in plans]
        return [
            await again_after_deadlock(partial(review, conn, org, id_, caller.user)) for id_ in ids
        ]
