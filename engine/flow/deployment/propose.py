"""Plan a hypothetical change, and store the plan for a later apply."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.errors import InvalidInput
from engine.flow.ingestion.coalesce import coalesce
from engine.flow.ingestion.resolve import resolve
from engine.flow.planning.continued import load_continued
from engine.flow.planning.decision import Decision, decide
from engine.flow.planning.estimate import Cost, Estimate, costs
from engine.flow.planning.pending_approval import limits_exceeded
from engine.flow.planning.set_aside import planning
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.event import Delivery, Received, SourceEvent
from engine.model.invalidation import Invalidation
from engine.partitions import PartitionSet
from engine.planner import LimitExceeded
from engine.store.database import Connection
from engine.store.ids import new_id
from engine.store.run import execute

PROPOSED_BY: Final = "proposed_by"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Plan that is not applied yet; ``exceeded_limits`` would require approval of an event.

    ``continued`` are the partitions of jobs that its changes may reach later along chains.
    """

    plan_id: UUID
    decision: Decision
    continued: Mapping[UUID, PartitionSet]
    costs: Mapping[UUID, Cost]
    exceeded_limits: Sequence[LimitExceeded]

    @property
    def estimate(self) -> Estimate:
        """Estimate for the plan as a whole."""
        return Estimate.of(self.costs.values())


async def propose(
    conn: Connection, org: OrgContext, event: SourceEvent, by: str | None = None
) -> Proposal:
    """Plan a change that has not been made; ``by`` is the user who proposes it.

    Raises InvalidInput under the conditions of ingest.
    """
    async with conn.transaction():
        lineage = await org.lineage(conn)
        with planning("this change"):
            decision = await decide(conn, lineage, list(_invalidations(lineage, event)))
            continued = await load_continued(conn, lineage, decision.plan)
            proposal = Proposal(
                new_id(),
                decision,
                continued,
                await costs(conn, decision, continued),
                await limits_exceeded(conn, org, decision, continued),
            )
            await execute(
                conn,
                "plans.propose",
                id=proposal.plan_id,
                org_id=org.id,
                epoch=org.epoch,
                document=Jsonb(decision.document),
                task_count=decision.tasks,
                event=Jsonb(msgspec.to_builtins(event) | {PROPOSED_BY: by}),
                estimate=Jsonb(asdict(proposal.estimate)),
            )
    return proposal


def _invalidations(lineage: Lineage, event: SourceEvent) -> Iterator[Invalidation]:
    resolved = resolve(lineage, Received.one(event, Delivery("impact", "0")))
    if not resolved.is_current:
        raise InvalidInput(
            f"version {event.version} of dataset {event.dataset!r} is not the current one: "
            "a change to it affects nothing"
        )
    for invalidation in coalesce([resolved]):
        for text in invalidation.texts:
            yield Invalidation(
                id=new_id(),
                dataset=invalidation.dataset,
                version=invalidation.version,
                reason=event.reason,
                partition_key=text,
                columns=invalidation.columns,
                row_filter=invalidation.rows,
            )
