"""The effect of a change: plans since a time, and the tasks of these plans."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.cli.demo.stage import Stage
from engine.planner import partitions_of
from engine.service.queries.pruning import PrunedEdge, pruned_edges
from engine.store.rows.demo import JobPartitions, OutputPartitions, PlanDocument
from engine.store.run import fetch


@dataclass(frozen=True, slots=True)
class JobCount:
    """A job in the plans: its partitions as texts, and their numbers.

    Of ``planned`` partitions, ``ran`` were recomputed; the rest was skipped because all inputs
    turned out unchanged. ``changed`` counts the recomputed partitions with different content.
    """

    job: str
    partitions: tuple[str, ...]
    planned: int
    ran: int
    changed: int


@dataclass(frozen=True, slots=True)
class Wave:
    """The effect of a change, upstream jobs first.

    ``total`` counts all output partitions; ``seconds`` is the time until the last task ended.
    """

    jobs: tuple[JobCount, ...]
    pruned: tuple[PrunedEdge, ...]
    total: int
    seconds: float

    @property
    def ran(self) -> int:
        """Number of recomputed partitions."""
        return sum(job.ran for job in self.jobs)

    @property
    def skipped(self) -> int:
        """Number of planned partitions that did not have to run."""
        return sum(job.planned - job.ran for job in self.jobs)


async def read_wave(stage: Stage, since: datetime) -> Wave:
    """Read the plans since a time, and the results of their tasks."""
    org_id = stage.org_id
    async with stage.session.connection() as conn:
        plans = await fetch(conn, "demo.plans", PlanDocument, org_id=org_id, since=since)
        ids = [plan.id for plan in plans]
        tasks = await fetch(conn, "demo.wave", JobPartitions, org_id=org_id, plans=ids)
        (outputs,) = await fetch(conn, "demo.output_partitions", OutputPartitions, org_id=org_id)
    last = max((row.ended for row in tasks), default=since)
    documents = [plan.document for plan in plans]
    return Wave(
        jobs=tuple(_jobs(documents, tasks)),
        pruned=tuple(edge for document in documents for edge in pruned_edges(document["pruned"])),
        total=outputs.partitions,
        seconds=(last - since).total_seconds(),
    )


def _jobs(
    documents: Iterable[Mapping[str, Any]], tasks: Iterable[JobPartitions]
) -> Iterator[JobCount]:
    steps = [step for document in documents for step in document["steps"]]
    texts: dict[str, list[str]] = {step["name"]: [] for step in steps}
    for step in steps:
        texts[step["name"]] += partitions_of(step)
    rows = {row.job: row for row in tasks}
    for job, partitions in texts.items():
        row = rows[job]
        yield JobCount(job, tuple(partitions), row.planned, row.ran, row.changed)
