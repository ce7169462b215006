"""What a change came to: read from the plans that were made of it, and from their tasks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.cli.demo.stage import Stage
from engine.service.queries.pruning import PrunedEdge, pruned_edges
from engine.store.run import Row


@dataclass(frozen=True, slots=True)
class Hit:
    """A job that the change reached, with its partitions as texts, and how many of them there are.

    Of those ``planned`` some ``ran``, and the rest were withdrawn, since nothing that they read
    had changed; of those that ran, some ``changed``.
    """

    job: str
    partitions: tuple[str, ...]
    planned: int
    ran: int
    changed: int


@dataclass(frozen=True, slots=True)
class Wave:
    """All that happened since a moment, parents first.

    ``made`` counts all partitions that jobs have made. ``seconds`` go up to the last task's end.
    """

    hits: tuple[Hit, ...]
    pruned: tuple[PrunedEdge, ...]
    made: int
    seconds: float

    @property
    def ran(self) -> int:
        """Partitions that were recomputed."""
        return sum(hit.ran for hit in self.hits)

    @property
    def withdrawn(self) -> int:
        """Partitions that were planned, and then had no need to run."""
        return sum(hit.planned - hit.ran for hit in self.hits)


async def read_wave(stage: Stage, since: datetime) -> Wave:
    """Read what was planned since, and what became of it."""
    plans = await stage.fetch("plans", since=since)
    tasks = await stage.fetch("wave", plans=[plan["id"] for plan in plans])
    (made,) = await stage.fetch("made")
    last = max((row["ended"] for row in tasks), default=since)
    documents = [plan["document"] for plan in plans]
    return Wave(
        hits=tuple(_hits(documents, tasks)),
        pruned=tuple(edge for document in documents for edge in pruned_edges(document)),
        made=made["partitions"],
        seconds=(last - since).total_seconds(),
    )


def _hits(documents: Iterable[Mapping[str, Any]], tasks: Iterable[Row]) -> Iterator[Hit]:
    steps = [step for document in documents for step in document["steps"]]
    texts: dict[str, list[str]] = {step["name"]: [] for step in steps}
    for step in steps:
        texts[step["name"]] += step["partitions"]
    counts = {row["job"]: row for row in tasks}
    for job, partitions in texts.items():
        planned, ran, changed = (int(counts[job][each]) for each in ("planned", "ran", "changed"))
        yield Hit(job, tuple(partitions), planned, ran, changed)
