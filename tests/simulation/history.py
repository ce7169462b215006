"""What happens in a world, as steps that mean something whichever of them are left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

WEIGHTS = Counter(
    change=16,
    burst=1,
    publish=10,
    ingest=12,
    plan=12,
    claim=14,
    read=8,
    finish=16,
    fail=5,
    vanish=2,
    expire=5,
    heartbeat=3,
    tick=5,
    clock=2,
    mend=4,
    invalidate=3,
    deploy=4,
    rest=1,
    told_late=2,
    fails_ahead=2,
)
PHRASES = {
    "told_late": (
        *("rest", "touch", "publish", "ingest", "ingest", "plan", "claim", "touch", "finish"),
        *(*("claim", "finish") * 2, "publish", "ingest", "ingest", "plan"),
        *("claim", "finish") * 3,
    ),
    "fails_ahead": (
        *("rest", "touch", "publish", "ingest", "ingest", "plan", "claim"),
        *("touch", "publish", "ingest", "ingest", "plan", "fail", "fail"),
    ),
}
"""What chance brings together too seldom: a run takes in what is told of only after it, or fails
when another has been queued behind it.
"""
LONGEST = 80
WAVES = (
    ("change", "rest"),
    PHRASES["told_late"],
    ("change", "change", "publish", "ingest", "plan", *("claim", "fail", "claim", "finish") * 3),
)
"""What a picky world goes through, wave by wave."""


@dataclass(frozen=True)
class Step:
    """A verb, and the dice for all that is left open."""

    verb: str
    seed: int

    def dice(self) -> Random:
        return Random(f"{self.verb} {self.seed}")


def history(seed: int) -> list[Step]:
    """What one seed has happen. A few changes come first, so that there is something to do."""
    dice = Random(f"history {seed}")
    verbs = sorted(WEIGHTS)
    opening = ["change", "publish", "ingest", "plan", "claim", "read", "finish"]
    drawn = dice.choices(verbs, [WEIGHTS[verb] for verb in verbs], k=dice.randint(10, LONGEST))
    verbs = [verb for word in [*opening, *drawn] for verb in PHRASES.get(word, (word,))]
    return [Step(verb, dice.randrange(2**32)) for verb in verbs]


def waves(seed: int) -> list[Step]:
    """A history of few troubles, in which much is told of only when a run has taken it in."""
    dice = Random(f"waves {seed}")
    drawn = [dice.choice(WAVES) for _ in range(dice.randint(6, 16))]
    verbs = ["burst", "rest", *(verb for wave in drawn for verb in wave)]
    return [Step(verb, dice.randrange(2**32)) for verb in verbs]
