"""Worlds that nobody wrote by hand: all of one out of one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import prod
from random import Random
from typing import Any

from tests.simulation.world import EVERY, Dimension, Job, Link, Output, Read, Space, World, is_tight

ANCHORS = {
    "America/New_York": date(2013, 3, 10),
    "Europe/Berlin": date(2013, 10, 27),
    "Australia/Lord_Howe": date(2013, 4, 7),
    "UTC": date(2013, 12, 31),
}
MOST_KEYS = 8
MOST_JOBS = 9
COLUMNS = ("x", "y", "z")
TEXTS = ("A", "B", "C")
CUTS = [(), ("time",), ("time",), ("time",), ("range",), ("static",), ("dynamic",)]
CUTS += [("time", "static"), ("time", "dynamic"), ("range", "static")]


def world(seed: int) -> World:
    """A world of two to nine jobs."""
    return Maker(Random(f"world {seed}")).world()


@dataclass
class Maker:
    """Makes worlds and further jobs for them."""

    dice: Random

    def world(self) -> World:
        self.zone, self.anchor = self.dice.choice(sorted(ANCHORS.items()))
        dags = ["one", "two"][: self.dice.choice([1, 1, 2])]
        jobs = [self.source(0, "one")]
        for n in range(1, self.dice.randint(2, MOST_JOBS)):
            # Datasets of a later DAG are not read by an earlier one, so that they can be deployed.
            dag = self.dice.choice(dags)
            among = [job for job in jobs if job.dag <= dag]
            is_source = n > 1 and self.dice.random() < 0.25
            jobs.append(self.source(n, dag) if is_source else self.job(n, dag, among))
        return World(tuple(jobs))

    def source(self, n: int, dag: str) -> Job:
        return Job(
            name=f"src{n}",
            dag=dag,
            space=self._space(),
            outputs=(Output(f"s{n}", COLUMNS[: self.dice.randint(2, 3)]),),
            tells_columns=self.dice.random() < 0.7,
        )

    def job(self, n: int, dag: str, among: Sequence[Job]) -> Job:
        """A job that reads one to three datasets of these."""
        count = min(len(among), self.dice.choice([1, 1, 2, 2, 3]))
        # The younger are likelier to be read: that makes chains and ladders, not only fans.
        makers = sorted(self.dice.sample(among, count), key=lambda job: job.name)
        if among[-1] not in makers and self.dice.random() < 0.5:
            makers[0] = among[-1]
        space = self._target(self.dice.choice(makers).space)
        inputs = [(self.dice.choice(maker.outputs), maker.space) for maker in makers]
        reads = tuple(self._read(output.name, source, space) for output, source in inputs)
        count = self.dice.choice([1, 1, 1, 2])
        names = [f"d{n}", f"e{n}"][:count]
        unit = self.dice.random() < 0.12
        return Job(
            name=f"job{n}",
            dag=dag,
            space=space,
            outputs=tuple(self._output(name, [output for output, _ in inputs]) for name in names),
            reads=reads,
            strategy="Full" if unit else "PerPartition",
            salt=self.dice.randrange(1000),
            coarse=self.dice.choice([1, 2, 2, 3, 1_000_003, 1_000_003, 1_000_003]),
            per_task=self.dice.choice([1, 1, 1, 2, 3]),
            max_attempts=self.dice.choice([1, 2, 3]),
        )

    def _output(self, name: str, inputs: Sequence[Output]) -> Output:
        columns = COLUMNS[: self.dice.randint(1, 3)]
        if self.dice.random() < 0.2:
            return Output(name, columns)
        told = [each for each in inputs if self.dice.random() < 0.85]
        pairs = [(each.name, column) for each in told for column in each.columns]
        lineage = {
            column: tuple(sorted(self.dice.sample(pairs, min(len(pairs), self.dice.randint(0, 2)))))
            for column in columns
        }
        if pairs and self.dice.random() < 0.2:
            lineage[EVERY] = (self.dice.choice(pairs),)
        return Output(name, columns, tuple(sorted(lineage.items())))

    def _space(self) -> Space:
        return _small(tuple(self._dimension(kind) for kind in self.dice.choice(CUTS)))

    def _dimension(self, kind: str) -> Dimension:
        if kind == "time":
            return self._time(self.dice.choice(["hour", "day", "day", "week", "month"]))
        if kind == "range":
            size = self.dice.choice([10, 20, 25])
            bounds = (0, None) if self.dice.random() < 0.2 else (0, self.dice.randint(2, 5))
            return Dimension("n", "range", size=size, bounds=bounds)
        if kind == "dynamic":
            return Dimension("k", kind, keys=TEXTS)
        return Dimension("o", kind, keys=TEXTS[: self.dice.randint(2, 3)])

    def _time(self, grain: str) -> Dimension:
        zone = self.zone if self.dice.random() < 0.7 else self.dice.choice(["UTC", "Asia/Kolkata"])
        bare = Dimension("dt", "time", grain=grain, zone=zone, anchor=self.anchor)
        middle = len(bare.grid) // 2 - (2 if grain == "day" else 0)
        lo = middle - self.dice.randint(0, 2)
        bounds: tuple[int | None, int | None] = (lo, lo + self.dice.randint(2, 6))
        if grain in ("day", "month") and self.dice.random() < 0.2:
            bounds = self.dice.choice([(None, None), (lo, None)])
        return replace(bare, bounds=bounds)

    def _target(self, space: Space) -> Space:
        """The same, or with a dimension less, more or cut otherwise."""
        change = self.dice.random()
        if change < 0.4:
            return space
        if change < 0.5 and space:
            return tuple(self.dice.sample(space, len(space) - 1))
        if change < 0.6 and len(space) < 2:
            kinds = {"time", "range", "static"} - {d.kind for d in space}
            return _small((*space, self._dimension(self.dice.choice(sorted(kinds)))))
        if change < 0.7:
            return self._space()
        return _small(tuple(self._recut(d) for d in space))

    def _recut(self, d: Dimension) -> Dimension:
        """Another grain, zone, size or list; where the old has no end, a finer grain would not."""
        if d.kind == "time":
            grains = ["hour", "day", "week", "month"]
            if not d.is_finite:
                grains = grains[grains.index(d.grain) :]
                grains = [g for g in grains if g in ("day", "month")]
            return self._time(self.dice.choice(grains))
        other = self._dimension(d.kind)
        return replace(other, name=d.name)

    def _read(self, dataset: str, source: Space, target: Space) -> Read:
        links = tuple(self._links(source, target))
        latest = None
        ordered = [i for i, d in enumerate(source) if d.is_ordered]
        if self.dice.random() < 0.12 and len(ordered) == 1:
            links, latest = (), ordered[0]
        read = Read(dataset, links, latest, self._spec(source, target, links, latest))
        if _may_wait(source, target, read) and self.dice.random() < 0.15:
            many = source != target and prod(len(d.universe) for d in source) > 1
            return replace(read, wait_for=self.dice.choice(["all", 1, 2 if many else 1]))
        return read

    def _links(self, source: Space, target: Space) -> Any:
        free = list(range(len(source)))
        if self.dice.random() < 0.06:
            return
        for t, to in enumerate(target):
            fits = [s for s in free if _fit(source[s], to)]
            if fits and (self.dice.random() < 0.92 or not to.is_finite):
                s = self.dice.choice(fits)
                free.remove(s)
                yield self._link(s, t, source[s], to)

    def _link(self, s: int, t: int, source: Dimension, target: Dimension) -> Link:
        chance = self.dice.random()
        if target.is_ordered and chance < 0.3:
            first = self.dice.randint(-2, 1)
            return Link(s, t, window=(first, self.dice.randint(first, min(first + 2, 2))))
        if not target.is_ordered and chance < 0.2:
            keymap = {
                key: tuple(self.dice.sample(target.keys, self.dice.randint(0, len(target.keys))))
                for key in source.keys
            }
            return Link(s, t, keymap=tuple(keymap.items()))
        return Link(s, t)

    def _spec(self, source: Space, target: Space, links: Any, latest: int | None) -> Any:
        if latest is not None:
            return "last"
        straight = all(
            each.source == each.target and not each.window and not each.keymap for each in links
        )
        if source == target and len(links) == len(source) and straight:
            return self.dice.choice([None, "identity"])
        if not target or not links:
            return "all"
        said: dict[str, Any] = {d.name: "all" for d in target}
        for link in links:
            entry: dict[str, Any] = {"from": source[link.source].name}
            if link.window:
                entry["window"] = list(link.window)
            if link.keymap is not None:
                entry["map"] = {key: list(targets) for key, targets in link.keymap}
            said[target[link.target].name] = entry
        return said


def _fit(source: Dimension, target: Dimension) -> bool:
    if source.is_ordered or target.is_ordered:
        if source.kind != target.kind:
            return False
        # From a coarse grain without an end to a fine one there would be too many.
        return target.is_finite or source.grain == target.grain or source.grain == "day"
    return True


def _may_wait(source: Space, target: Space, read: Read) -> bool:
    """Where what an output needs has an end, and an output's own key says what it is."""
    linked = {link.source for link in read.links}
    return read.latest is None and all(d.is_finite for i, d in enumerate(source) if i not in linked)


def _small(space: Space) -> Space:
    """With so few keys that a world can be run in a second."""
    while prod(len(d.universe) for d in space if d.is_finite) > MOST_KEYS:
        widest = max((d for d in space if d.is_finite), key=lambda d: len(d.universe))
        space = tuple(_shorter(d) if d is widest else d for d in space)
    return space


def _shorter(d: Dimension) -> Dimension:
    if d.kind == "static":
        return replace(d, keys=d.keys[:-1])
    lo, hi = d.bounds
    return replace(d, bounds=(lo, hi - 1))


__all__ = ["Maker", "is_tight", "world"]
