"""Unusable messages between valid ones, and replay of dead letters."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from uuid import UUID

from consumers.replay import replay
from engine.model.event import SourceEvent
from tests.simulation.crashes import AnswerLost
from tests.simulation.dimensions import text
from tests.simulation.stage import Stage
from tests.simulation.upstream import Upstream, core
from tests.simulation.world import Job

_LETTERS = """
SELECT id, position::int AS place, error FROM dead_letters
WHERE org_id = %(org)s AND stream = 's' AND replayed_at IS NULL ORDER BY id
"""


class Letters:
    """Invalid messages and their replay; ``upstream.unusable`` holds their stream positions."""

    def __init__(self, stage: Stage, upstream: Upstream) -> None:
        self.stage = stage
        self.upstream = upstream

    async def garble(self, dice: Random) -> None:
        """Publish a message that the engine must reject without affecting its neighbors."""
        job = dice.choice(self.stage.world.sources)
        dataset = job.outputs[0].name
        ways: list[Callable[[], SourceEvent]] = [
            lambda: SourceEvent(dataset="nothing"),
            lambda: SourceEvent(dataset=dataset, partitions=("no such key/at=all",)),
            lambda: SourceEvent(dataset=dataset, version=str(UUID(int=dice.randrange(2**120)))),
            lambda: SourceEvent(dataset=dataset, version="latest"),
            lambda: SourceEvent(dataset=dataset, partitions=_some(dice, job), columns=()),
        ]
        event = dice.choice(ways)()
        self.upstream.unusable.add(len(self.upstream.stream))
        self.upstream.stream.append(event)
        self.stage.log_line(
            f"publish {event.dataset} with an error in it", "message that is rejected"
        )

    async def replay(self, dice: Random) -> None:
        """Replay dead letters: a message for a restored dataset is now ingested."""
        rows = await self.stage.rows(_LETTERS)
        if not rows:
            return
        chosen = dice.sample(rows, min(len(rows), dice.randint(1, 3)))
        org = self.stage.org_context(dice)
        self.stage.log_line(f"replay {len(chosen)} dead letters", "dead letters replayed")
        ids = [row["id"] for row in chosen]
        try:
            done = await self.stage.do("replay", lambda conn: replay(conn, org, ids), dice)
        except AnswerLost as lost:
            self._remember(chosen, lost.answer)
            raise
        self._remember(chosen, done)

    def _remember(self, rows: list[dict[str, object]], done: object) -> None:
        places = {row["id"]: row["place"] for row in rows}
        for each in done:  # type: ignore[attr-defined]
            event = self.upstream.stream[places[each.id]]  # type: ignore[index]
            self.stage.remember(each.invalidations, [event])
            if each.error is None:
                self.stage.counts["dead letter ingested"] += 1


def _some(dice: Random, job: Job) -> tuple[str, ...] | None:
    return (text(job.space, dice.choice(core(job))),) if job.space else None


__all__ = ["Letters"]
