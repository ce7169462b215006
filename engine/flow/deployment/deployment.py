"""Results of a deploy: its DAGs, and everything to be built."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from engine.flow.deployment.changes import Change
from engine.flow.planning.decision import Decision
from engine.flow.planning.estimate import Cost, Estimate
from engine.lineage.compiled import CompiledNote
from engine.lineage.diff import DagDiff
from engine.lineage.growth import Texts, captured_tables, entering, leaving
from engine.planner import LimitExceeded


@dataclass(frozen=True, slots=True)
class Deployment:
    """Deploy of a DAG, or its preview: the DAG version, and its differences from the previous one.

    ``entering`` and ``leaving`` have, by dataset, the texts of partitions added and removed by
    other bounds or keys. ``grown`` are the entering partitions of sources; data already in these
    must be invalidated by hand. ``captured`` has the tables of sources with other bounds; if they
    are attached, they must be attached again. ``is_restored``: the DAG was undeployed, and
    continues from its dataset versions. ``notes`` are those of `knockon validate`.
    """

    dag_name: str
    version_id: UUID | None
    diff: DagDiff
    grown: Texts = field(default_factory=dict)
    entering: Texts = field(default_factory=dict)
    leaving: Texts = field(default_factory=dict)
    captured: Mapping[str, str] = field(default_factory=dict)
    is_restored: bool = False
    notes: tuple[CompiledNote, ...] = ()

    @staticmethod
    def of(change: Change, version_id: UUID | None, *, is_restored: bool) -> "Deployment":
        """Describe a change of a DAG."""
        before, now = change.before, change.compiled
        entered, sources = entering(before, now), {each.name for each in now.sources}
        return Deployment(
            now.name,
            version_id,
            change.diff,
            grown={name: texts for name, texts in entered.items() if name in sources},
            entering=entered,
            leaving=leaving(before, now),
            captured=captured_tables(before, now),
            is_restored=is_restored,
            notes=now.notes,
        )


@dataclass(frozen=True, slots=True)
class Deployed:
    """Result or preview of a deploy: its DAGs, and everything to be built, also by other DAGs.

    ``followed`` are other DAGs, deployed again because their SQL now reads different columns of
    these, or their inputs have other bounds. ``decision`` None: nothing is to be built. ``costs``
    are by job. With a ``pending_plan``, nothing is deployed before that plan is approved.
    """

    dags: tuple[Deployment, ...]
    followed: tuple[str, ...]
    decision: Decision | None
    costs: Mapping[UUID, Cost]
    exceeded_limits: tuple[LimitExceeded, ...] = ()
    tasks: int = 0
    pending_plan: UUID | None = None

    @property
    def estimate(self) -> Estimate:
        """Return the total of the costs."""
        return Estimate.of(self.costs.values())

    def without_versions(self) -> "Deployed":
        """Return a copy for a deploy that was rolled back."""
        return replace(self, dags=tuple(replace(dag, version_id=None) for dag in self.dags))
