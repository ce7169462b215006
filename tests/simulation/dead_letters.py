"""Invalid messages between valid ones, and replay of dead dead_letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any
from uuid import UUID

from consumers.replay import replay
from engine.model.event import SourceEvent
from tests.simulation.crashes import ResponseLost
from tests.simulation.dimensions import text
from tests.simulation.edits import core
from tests.simulation.state import SimulationState
from tests.simulation.upstream import Upstream
from tests.simulation.world import Job

_LETTERS = """
SELECT id, position::int AS position, error FROM dead_letters
WHERE org_id = %(org)s AND stream = 's' AND replayed_at IS NULL ORDER BY id
"""


class DeadLetters:
    """Invalid messages and their replay; ``upstream.unusable`` holds their stream positions."""

    def __init__(self, state: SimulationState, upstream: Upstream) -> None:
        self.state = state
        self.upstream = upstream

    async def garble(self, rng: Random) -> None:
        """Publish a message that the engine must reject without affecting adjacent ones."""
        job = rng.choice(self.state.world.sources)
        dataset = job.outputs[0].name
        variants: list[Callable[[], SourceEvent]] = [
            lambda: SourceEvent(dataset="nothing"),
            lambda: SourceEvent(dataset=dataset, partitions=("no such key/at=all",)),
            lambda: SourceEvent(dataset=dataset, version=str(UUID(int=rng.randrange(2**120)))),
            lambda: SourceEvent(dataset=dataset, version="latest"),
            lambda: SourceEvent(
                dataset=dataset, partitions=_random_partition(rng, job), columns=()
            ),
        ]
        event = rng.choice(variants)()
        self.upstream.unusable.add(len(self.upstream.stream))
        self.upstream.stream.append(event)
        self.state.log_line(f"publish an invalid message for {event.dataset}", "invalid message")

    async def replay(self, rng: Random) -> None:
        """Replay dead letters: a message for a restored dataset is now ingested."""
        rows = await self.state.rows(_LETTERS)
        if not rows:
            return
        chosen = rng.sample(rows, min(len(rows), rng.randint(1, 3)))
        org = self.state.org_context(rng)
        self.state.log_line(f"replay {len(chosen)} dead letters", "dead letters replayed")
        ids = [row["id"] for row in chosen]
        try:
            replayed = await self.state.do("replay", lambda conn: replay(conn, org, ids), rng)
        except ResponseLost as lost:
            self._record_events(chosen, lost.response)
            raise
        self._record_events(chosen, replayed)

    def _record_events(self, rows: list[dict[str, Any]], replayed: Iterable[Any]) -> None:
        positions = {row["id"]: row["position"] for row in rows}
        for entry in replayed:
            event = self.upstream.stream[positions[entry.id]]
            self.state.record_events(entry.invalidations, [event])
            if entry.error is None:
                self.state.counts["dead letter ingested"] += 1


def _random_partition(rng: Random, job: Job) -> tuple[str, ...] | None:
    return (text(job.space, rng.choice(core(job))),) if job.space else None


__all__ = ["DeadLetters"]
