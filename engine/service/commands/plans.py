"""Decisions on plans: apply, approve, reject."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

from engine.errors import Forbidden
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
from engine.service.visibility import Visibility, load_plan_subjects
from engine.store.database import Connection
from engine.store.orgs import settings
from engine.store.rows.plans import PlanAuthor
from engine.store.run import fetch

__all__ = ["Applied", "Review", "apply", "approve", "reject"]


@requires(Role.WRITER)
async def apply(caller: Caller, service: Service, plan: str) -> Applied:
    """Run a proposed plan exactly as shown, or return the differences from a current plan.

    Raises UnknownName, InvalidInput if the plan is not proposed or cannot be planned, and Forbidden
    for hidden datasets, or if the org requires another person.
    """
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        id_ = await _decidable_plan(conn, org, visible, plan)
        await _require_second_person(conn, org, caller, id_)
        return await applying.apply(conn, org, id_, caller.user)


@requires(Role.WRITER)
async def approve(caller: Caller, service: Service, plans: Sequence[str]) -> list[Review]:
    """Run plans pending approval, planned again in the current state; of deploys as well.

    Each plan has a separate transaction: a common transaction would lock tasks plan by plan,
    against the lock order of completions. All ids are resolved before the first approval. Raises
    UnknownName, InvalidInput if a plan is not pending approval, and Forbidden for hidden datasets,
    or if the org requires another person.
    """
    return await _review(caller, service, approve_plan, plans, is_approval=True)


@requires(Role.WRITER)
async def reject(caller: Caller, service: Service, plans: Sequence[str]) -> list[Review]:
    """Reject plans pending approval; the affected partitions stay stale.

    Transactions and errors are those of `approve`.
    """
    return await _review(caller, service, approval.reject, plans)


async def _decidable_plan(
    conn: Connection, org: OrgContext, visible: Visibility, plan: str
) -> UUID:
    """Return the id of a plan. Raises UnknownName, and Forbidden if it concerns hidden datasets."""
    id_ = await plan_id(conn, org, plan, visible)
    if not visible.is_full:
        subjects = await load_plan_subjects(conn, org, [id_])
        if id_ not in subjects or not visible.sees_all_of_plan(subjects[id_]):
            raise Forbidden(
                f"plan {id_} concerns datasets that are hidden from you: have someone with their "
                "roles, or an admin, decide"
            )
    return id_


async def _require_second_person(
    conn: Connection, org: OrgContext, caller: Caller, plan: UUID
) -> None:
    """Raise Forbidden with `four_eyes` for a user who has caused the plan, or is unknown."""
    if not (await settings(conn, org.id)).four_eyes:
        return
    if caller.user is None:
        raise Forbidden("plans of this org are approved by a person: name yourself with --by")
    authors = await fetch(conn, "plans.authors", PlanAuthor, org_id=org.id, id=plan)
    if caller.user in {author.by for author in authors}:
        raise Forbidden(
            f"plan {plan} is your own, and this org requires another person: have them approve it"
        )


async def _review(
    caller: Caller,
    service: Service,
    review: Callable[[Connection, OrgContext, UUID, str | None], Awaitable[Review]],
    plans: Sequence[str],
    *,
    is_approval: bool = False,
) -> list[Review]:
    async with service.connection(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        ids = [await _decidable_plan(conn, org, visible, plan) for plan in plans]
        for id_ in ids if is_approval else ():
            await _require_second_person(conn, org, caller, id_)
        return [
            await again_after_deadlock(partial(review, conn, org, id_, caller.user)) for id_ in ids
        ]
