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
from tests.simulation.crashes import AnswerLost
from tests.simulation.invariants import Broken
from tests.simulation.stage import Stage
from tests.simulation.upstream import Upstream, brief

_PENDING = "SELECT id FROM plans WHERE org_id = %(org)s AND state = 'pending_approval' ORDER BY id"


@dataclass(frozen=True)
class Shown:
    """A proposed plan with its change and number of tasks."""

    plan: UUID
    event: SourceEvent
    tasks: int


class Approvals:
    """Review of plans; ``shown`` are unapplied proposals, whose changes are not published yet."""

    def __init__(self, stage: Stage, upstream: Upstream) -> None:
        self.stage = stage
        self.upstream = upstream
        self.shown: list[Shown] = []

    async def limit(self, dice: Random) -> None:
        """Set or lift the org's limit on the partitions of a single plan."""
        most = dice.choice([0, 1, 2, 4, None])
        self.stage.log_line(f"limit {most}", "limit lifted" if most is None else "limit set")
        await self._set_limit(most)

    async def _set_limit(self, most: int | None) -> None:
        async def set_most(conn: Any) -> None:
            await set_setting(conn, self.stage.org, "blast_radius", most)

        await self.stage.do("limit", set_most)

    # -- pending plans -------------------------------------------------------------------------

    async def decide(self, dice: Random) -> None:
        """Approve or reject a plan pending approval."""
        pending = await self._pending()
        if pending:
            await self._decide(dice.choice(pending), dice, is_calm=False)

    async def _pending(self) -> list[UUID]:
        return [row["id"] for row in await self.stage.rows(_PENDING)]

    async def _decide(self, plan: UUID, dice: Random, *, is_calm: bool) -> None:
        verb = approve if dice.random() < 0.6 else reject
        self.stage.log_line(f"{verb.__name__} a pending plan", f"pending plan: {verb.__name__}")
        org = self.stage.org_context(dice)
        try:
            await self.stage.do(
                verb.__name__, lambda conn: verb(conn, org, plan), None if is_calm else dice
            )
        except InvalidInput as error:
            self.stage.log_line(f"… refused: {error}")
        finally:
            await self.stage.note_invalidations()

    async def decide_all(self, dice: Random) -> bool:
        """Approve or reject every pending plan."""
        pending = await self._pending()
        for plan in pending:
            await self._decide(plan, dice, is_calm=True)
        return bool(pending)

    async def lift_limits(self) -> None:
        await self._set_limit(None)

    # -- proposals -----------------------------------------------------------------------------

    async def impact(self, dice: Random) -> None:
        """Propose a plan for a change before publishing it."""
        if not self.upstream.unpublished:
            return
        event = self.upstream.unpublished.pop(dice.randrange(len(self.upstream.unpublished)))
        org = self.stage.org_context(dice)
        self.stage.log_line(f"propose {brief(event)}", "impact")
        try:
            proposal: Proposal = await self.stage.do(
                "propose", lambda conn: propose(conn, org, event), dice
            )
        except AnswerLost as lost:
            self.shown.append(Shown(lost.answer.plan_id, event, lost.answer.decision.tasks))
            raise
        except BaseException as error:
            self.upstream.unpublished.append(event)
            if not isinstance(error, InvalidInput):
                raise
            self.stage.log_line(f"… refused: {error}")
        else:
            self.shown.append(Shown(proposal.plan_id, event, proposal.decision.tasks))

    async def apply(self, dice: Random) -> None:
        """Apply a proposed plan; if the plan is outdated, publish the change instead."""
        if self.shown:
            await self._apply(self.shown.pop(dice.randrange(len(self.shown))), dice)

    async def apply_all(self) -> bool:
        """Apply or publish every proposed change."""
        had = bool(self.shown)
        while self.shown:
            await self._apply(self.shown.pop(0), None)
        return had

    async def _apply(self, shown: Shown, dice: Random | None) -> None:
        org = self.stage.org_context(dice)
        try:
            done = await self.stage.do("apply", lambda conn: apply(conn, org, shown.plan), dice)
        except AnswerLost as lost:
            self._applied(shown, lost.answer)
            raise
        except InvalidInput as error:
            self.stage.log_line(f"… refused: {error}")
            self.upstream.unpublished.append(shown.event)
        except BaseException:
            self.shown.append(shown)
            raise
        else:
            self._applied(shown, done)

    def _applied(self, shown: Shown, done: Applied) -> None:
        """Check the law "plan = execution": an applied plan creates as many tasks as it showed."""
        if done.changes:
            self.stage.log_line(f"… no longer as shown: {brief(shown.event)}", "plan outdated")
            self.upstream.unpublished.append(shown.event)
            return
        self.stage.log_line(f"apply {brief(shown.event)}", "plan applied")
        self.stage.remember(done.invalidations, [shown.event])
        if done.tasks != shown.tasks:
            raise Broken("a plan applied otherwise than shown", (shown.tasks, done.tasks))
