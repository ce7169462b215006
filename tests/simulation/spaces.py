"""Random partitionings of datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import prod
from random import Random

from tests.simulation.dimensions import Dimension, Space

ANCHORS = {
    "America/New_York": date(2013, 3, 10),
    "Europe/Berlin": date(2013, 10, 27),
    "Australia/Lord_Howe": date(2013, 4, 7),
    "UTC": date(2013, 12, 31),
}
"""Days at the center of all partitions; in most zones, a change to or from daylight saving time."""
MAX_KEYS = 8
ALPHABETS = (
    *[("A", "B", "C")] * 4,
    ("Zürich", "ÅA", "日本"),
    ("it's", 'say "no"', "back\\slash"),
    ("A%3AB", "A:B", "__HIVE_DEFAULT_PARTITION__"),
    ("k" * 100, "k" * 99, "k"),
    ("0-9", "2013-01-01", "1.5"),
    (" led", "trailed ", "in between"),
    ("null", "-", "{}"),
)
"""Keys of static and dynamic dimensions, and groups of rows."""
GRAINS = ["hour", "day", "week", "month", "quarter", "year"]
MORE_GRAINS = ["week from sunday", "day from 01:30", "15m", "4h", "0 0 1,15 * *", "30 1 * * 1-5"]
"""Grains of the worlds of grids."""
PARTITIONINGS = [(), ("time",), ("time",), ("time",), ("range",), ("static",), ("dynamic",)]
PARTITIONINGS += [("time", "static"), ("time", "dynamic"), ("range", "static"), ("time", "range")]


@dataclass
class PartitioningGenerator:
    """Generator of partitionings, mostly around a single day in a single zone."""

    rng: Random
    zone: str
    anchor: date
    alphabet: tuple[str, ...] = ALPHABETS[0]
    more_grains: Sequence[str] = ()

    @staticmethod
    def random_place(rng: Random) -> PartitioningGenerator:
        return PartitioningGenerator(
            rng, *rng.choice(sorted(ANCHORS.items())), rng.choice(ALPHABETS)
        )

    def space(self) -> Space:
        among = [p for p in PARTITIONINGS if "time" in p] if self.more_grains else PARTITIONINGS
        return _small(tuple(self._dimension(kind) for kind in self.rng.choice(among)))

    def bounded_dimension(self) -> Dimension:
        """Return a bounded ordered dimension whose grid continues beyond the bound."""
        while True:
            dimension = self._dimension(self.rng.choice(["time", "range"]))
            if dimension.is_finite and len(dimension.universe) <= MAX_KEYS:
                return dimension

    def target(self, space: Space) -> Space:
        """Return the space unchanged, with a dimension less or more, or with other dimensions."""
        chance = self.rng.random()
        if chance < 0.4:
            return space
        if chance < 0.5 and space:
            return tuple(self.rng.sample(space, len(space) - 1))
        if chance < 0.6 and len(space) < 2:
            return self.with_additional_dimension(space, {"time", "range", "static"})
        if chance < 0.7:
            return self.space()
        return _small(tuple(self._repartitioned(d) for d in space))

    def with_additional_dimension(self, space: Space, kinds: set[str]) -> Space:
        """Add a dimension of one of the given kinds not yet present."""
        free = sorted(kinds - {d.kind for d in space})
        return _small((*space, self._dimension(self.rng.choice(free)))) if free else space

    def _dimension(self, kind: str) -> Dimension:
        if kind == "time":
            common = ["hour", "day", "day", "day", *GRAINS[2:]]
            grains = [*self.more_grains, "day"] if self.more_grains else common
            return self._time(self.rng.choice(grains))
        if kind == "range":
            size = self.rng.choice([10, 20, 25])
            bounds = (0, None) if self.rng.random() < 0.2 else (0, self.rng.randint(2, 5))
            return Dimension("n", "range", size=size, bounds=bounds)
        if kind == "dynamic":
            return Dimension("k", kind, keys=self.alphabet)
        return Dimension("o", kind, keys=self.alphabet[: self.rng.randint(2, 3)])

    def _time(self, grain: str) -> Dimension:
        zone = self.zone if self.rng.random() < 0.7 else self.rng.choice(["UTC", "Asia/Kolkata"])
        bare = Dimension("dt", "time", grain=grain, zone=zone, anchor=self.anchor)
        middle = len(bare.grid) // 2 - (2 if grain == "day" else 0)
        if grain == "15m":
            middle += 8  # most clocks change two hours after midnight
        lo = middle - self.rng.randint(0, 2)
        hi = min(lo + self.rng.randint(2, 6), len(bare.grid) - 1)
        bounds: tuple[int | None, int | None] = (lo, hi)
        if grain in ("day", "month") and self.rng.random() < 0.2:
            bounds = self.rng.choice([(None, None), (lo, None)])
        return replace(bare, bounds=bounds)

    def _repartitioned(self, d: Dimension) -> Dimension:
        """Draw another grain, zone, size or list; unbounded dimensions never get a finer grain."""
        if d.kind == "time":
            grains: Sequence[str] = [*GRAINS, *self.more_grains]
            if not d.is_finite:
                grains = [g for g in GRAINS[GRAINS.index(d.grain) :] if g in ("day", "month")]
            return self._time(self.rng.choice(grains))
        other = self._dimension(d.kind)
        return replace(other, name=d.name)


def _small(space: Space) -> Space:
    """Shorten a space until a world runs within a second."""
    while prod(len(d.universe) for d in space if d.is_finite) > MAX_KEYS:
        widest = max((d for d in space if d.is_finite), key=lambda d: len(d.universe))
        space = tuple(_shorter(d) if d is widest else d for d in space)
    return space


def _shorter(d: Dimension) -> Dimension:
    if d.kind == "static":
        return replace(d, keys=d.keys[:-1])
    lo, hi = d.bounds
    return replace(d, bounds=(lo, hi - 1))
