"""Operators who review plans: limits, approval, rejection, and proposed and applied changes."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from engine.errors import InvalidInput
from engine.flow.deployment.apply import Applied, apply
from engine.flow.deployment.propose import Proposal, propose
from engine.flow.planning.approve import approve, reject
from engine.model.event import SourceEvent
from engine.store.orgs import set_setting
from tests.simulation.crashes import ResponseLost
from tests.simulation.events import event_text
from tests.simulation.invariants import Broken
from tests.simulation.state import SimulationState
from tests.simulation.upstream import Upstream

_PENDING = "SELECT id FROM plans WHERE org_id = %(org)s AND state = 'pending_approval' ORDER BY id"


@dataclass(frozen=True)
class ProposedPlan:
    """A proposed plan with its change and number of tasks."""

    plan: UUID
    event: SourceEvent
    tasks: int


class Approvals:
    """Review of plans; ``proposals`` are unapplied, and their changes are not published yet."""

    def __init__(self, state: SimulationState, upstream: Upstream) -> None:
        self.state = state
        self.upstream = upstream
        self.proposals: list[ProposedPlan] = []

    async def limit(self, rng: Random) -> None:
        """Set or lift the org's limit on the partitions of a single plan."""
        limit = rng.choice([0, 1, 2, 4, None])
        self.state.log_line(f"limit {limit}", "limit lifted" if limit is None else "limit set")
        await self._set_limit(limit)

    async def _set_limit(self, limit: int | None) -> None:
        async def set_blast_radius(conn: Any) -> None:
            await set_setting(conn, self.state.org, "blast_radius", limit)

        await self.state.do("limit", set_blast_radius)

    # -- pending plans -------------------------------------------------------------------------

    async def decide(self, rng: Random) -> None:
        """Approve or reject a plan pending approval."""
        pending = await self._pending()
        if pending:
            await self._decide(rng.choice(pending), rng, is_calm=False)

    async def _pending(self) -> list[UUID]:
        return [row["id"] for row in await self.state.rows(_PENDING)]

    async def _decide(self, plan: UUID, rng: Random, *, is_calm: bool) -> None:
        operation = approve if rng.random() < 0.6 else reject
        self.state.log_line(
            f"{operation.__name__} a pending plan", f"pending plan: {operation.__name__}"
        )
        org = self.state.org_context(rng)
        try:
            await self.state.do(
                operation.__name__,
                lambda conn: operation(conn, org, plan),
                None if is_calm else rng,
            )
        except InvalidInput as error:
            self.state.log_line(f"… refused: {error}")
        finally:
            await self.state.record_planned_events()

    async def decide_all(self, rng: Random) -> bool:
        """Approve or reject every pending plan."""
        pending = await self._pending()
        for plan in pending:
            await self._decide(plan, rng, is_calm=True)
        return bool(pending)

    async def lift_limits(self) -> None:
        await self._set_limit(None)

    # -- proposals -----------------------------------------------------------------------------

    async def impact(self, rng: Random) -> None:
        """Propose a plan for a change before publishing it."""
        if not self.upstream.unpublished:
            return
        index = rng.randrange(len(self.upstream.unpublished))
        if self.upstream.is_in_order(self.upstream.unpublished[index].dataset):
            return
        event = self.upstream.unpublished.pop(index)
        org = self.state.org_context(rng)
        self.state.log_line(f"propose {event_text(event)}", "plan proposed")
        try:
            proposed: Proposal = await self.state.do(
                "propose", lambda conn: propose(conn, org, event), rng
            )
        except ResponseLost as lost:
            self.proposals.append(
                ProposedPlan(lost.response.plan_id, event, lost.response.decision.tasks)
            )
            raise
        except BaseException as error:
            self.upstream.unpublished.append(event)
            if not isinstance(error, InvalidInput):
                raise
            self.state.log_line(f"… refused: {error}")
        else:
            self.proposals.append(ProposedPlan(proposed.plan_id, event, proposed.decision.tasks))

    async def apply(self, rng: Random) -> None:
        """Apply a proposed plan; if the plan is outdated, publish the change instead."""
        if self.proposals:
            await self._apply(self.proposals.pop(rng.randrange(len(self.proposals))), rng)

    async def apply_all(self) -> bool:
        """Apply or publish every proposed change."""
        found = bool(self.proposals)
        while self.proposals:
            await self._apply(self.proposals.pop(0), None)
        return found

    async def _apply(self, proposal: ProposedPlan, rng: Random | None) -> None:
        org = self.state.org_context(rng)
        try:
            applied = await self.state.do(
                "apply", lambda conn: apply(conn, org, proposal.plan), rng
            )
        except ResponseLost as lost:
            self._applied(proposal, lost.response)
            raise
        except InvalidInput as error:
            self.state.log_line(f"… refused: {error}")
            self.upstream.unpublished.append(proposal.event)
        except BaseException:
            self.proposals.append(proposal)
            raise
        else:
            self._applied(proposal, applied)
            await self.state.record_planned_events()  # before the invalidations are archived

    def _applied(self, proposal: ProposedPlan, applied: Applied) -> None:
        """Check the law "plan = execution": an applied plan creates as many tasks as proposed."""
        if applied.changes:
            self.state.log_line(
                f"… no longer as proposed: {event_text(proposal.event)}", "proposed plan outdated"
            )
            self.upstream.unpublished.append(proposal.event)
            return
        self.state.log_line(f"apply {event_text(proposal.event)}", "proposed plan applied")
        self.state.record_events(applied.invalidations, [proposal.event])
        if any(job.own_read for job in self.state.world.jobs):
            return  # a partition whose task was proposed may now wait for an earlier one
        if applied.tasks != proposal.tasks:
            raise Broken(
                "an applied plan differs from its proposal", (proposal.tasks, applied.tasks)
            )
