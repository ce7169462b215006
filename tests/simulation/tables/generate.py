"""Worlds of real tables: sources (tables and views), and jobs with a SELECT per output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from tests.simulation.dimensions import Dimension, Space
from tests.simulation.mapping import Read
from tests.simulation.reads import any_read, grouped_read
from tests.simulation.spaces import ALPHABETS, ANCHORS
from tests.simulation.tables.grammar import written
from tests.simulation.tables.select import Select, Shape
from tests.simulation.world import Job, Output, World

NUMBERS = ("x", "y", "z", "v", "w")
"""Columns of sources."""
GROUPED = Dimension("k", "static")
"""Output dimension keyed by the values of the column ``k``."""


@dataclass(frozen=True)
class Recipe:
    """Parameters for writing a job's SELECTs; ``salt`` varies their constants."""

    job: Job
    inputs: tuple[Shape, ...]
    seed: str
    salt: int

    @cached_property
    def selects(self) -> Mapping[str, Select]:
        """Return the SELECTs by output."""
        return {
            output.name: written(
                f"{self.seed} {output.name}",
                self.salt,
                self.job.space,
                self.job.reads[0],
                self.inputs,
            ).select(output.name)
            for output in self.job.outputs
        }

    def reads_any(self, dataset: str, columns: frozenset[str] | None) -> bool:
        """Return whether a change of these columns may reach an output.

        An input not named by any SELECT is read as a whole.
        """
        selects = self.selects.values()
        if not any(f'"{dataset}"' in select.text for select in selects):
            return True
        return any(select.reads_any(dataset, columns) for select in selects)


@dataclass(frozen=True)
class TableWorld:
    """Graph and mappings (``world``), and the SELECTs by job (``recipes``).

    Sources in ``views`` are views, each over its own table.
    """

    world: World
    shapes: Mapping[str, Shape]
    recipes: Mapping[str, Recipe]
    views: frozenset[str]

    def select(self, dataset: str) -> Select:
        """Return the SELECT of a dataset."""
        return self.recipes[self.world.producers[dataset].name].selects[dataset]

    def with_salt(self, job: str, salt: int) -> TableWorld:
        """Return the world with other constants in the SELECTs of a job."""
        return replace(self, recipes={**self.recipes, job: replace(self.recipes[job], salt=salt)})

    def alternatives(self, job: str) -> list[str]:
        """Return the sources that could replace the main input of a job, itself a source."""
        main, *others = self.recipes[job].inputs
        sources = {source.outputs[0].name: source for source in self.world.sources}
        if main.name not in sources:
            return []
        used = {main.name, *(other.name for other in others)}
        return [
            name
            for name, source in sources.items()
            if name not in used and source.space == main.space
        ]

    def with_main_input(self, job: str, source: str) -> TableWorld:
        """Return the world in which a job reads another source as its main input."""
        recipe = self.recipes[job]
        main, *others = recipe.job.reads
        reads = (replace(main, dataset=source), *others)
        inputs = (self.shapes[source], *recipe.inputs[1:])
        recipe = replace(recipe, job=replace(recipe.job, reads=reads), inputs=inputs)
        world = self.world.replacing(recipe.job)
        return replace(self, world=world, recipes={**self.recipes, job: recipe})

    @property
    def features(self) -> set[str]:
        """Return the used parts of the grammar."""
        features = {"view"} if self.views else set()
        for recipe in self.recipes.values():
            features |= {"several outputs"} if len(recipe.job.outputs) > 1 else set()
            for select in recipe.selects.values():
                features |= select.features
        return features


def table_world(seed: int) -> TableWorld:
    """Generate a world from a seed."""
    return Generator(Random(f"table world {seed}"), seed).world()


class Generator:
    """Generator of a single world."""

    def __init__(self, rng: Random, seed: int) -> None:
        self.rng = rng
        self.seed = seed
        self.alphabet = rng.choice(ALPHABETS)
        self.zone, self.anchor = rng.choice(sorted(ANCHORS.items()))
        self.shapes: dict[str, Shape] = {}

    def world(self) -> TableWorld:
        count = self.rng.choice([1, 1, 2])
        jobs = [self._source(n) for n in range(count)]
        recipes = {}
        for n in range(count, count + self.rng.randint(2, 4)):
            recipe = self._recipe(n)
            jobs.append(recipe.job)
            recipes[recipe.job.name] = recipe
            self.shapes |= {name: select.shape for name, select in recipe.selects.items()}
        views = {job.outputs[0].name for job in jobs[:count] if self.rng.random() < 0.35}
        return TableWorld(World(tuple(jobs)), self.shapes, recipes, frozenset(views))

    # -- partitions ----------------------------------------------------------------------------

    def _source_space(self) -> Space:
        days, keys = self._time("day"), Dimension("p", "static", keys=self.alphabet[:2])
        return self.rng.choice([(), (days,), (days,), (days,), (keys,), (days, keys)])

    def _time(self, grain: str) -> Dimension:
        zone = self.zone if self.rng.random() < 0.7 else "UTC"
        bare = Dimension("dt", "time", grain=grain, zone=zone, anchor=self.anchor)
        low = len(bare.grid) // 2 - 1
        return replace(bare, bounds=(low, low + (3 if grain == "day" else 2)))

    def _target(self, space: Space) -> Space:
        chance = self.rng.random()
        if chance < 0.15 and space:
            return tuple(self.rng.sample(space, len(space) - 1))
        if chance < 0.35:
            return tuple(self._repartitioned(d) for d in space)
        return space

    def _repartitioned(self, d: Dimension) -> Dimension:
        return self._time(self.rng.choice(["day", "week", "month"])) if d.kind == "time" else d

    # -- jobs ----------------------------------------------------------------------------------

    def _source(self, n: int) -> Job:
        name, space = f"s{n}", self._source_space()
        if n and Random(f"equal sources {self.seed}").random() < 0.6:
            space = self.shapes["s0"].space
        kinds = (("id", "id"), ("k", "text"), *((number, "number") for number in NUMBERS))
        self.shapes[name] = Shape(name, space, kinds, has_ids=True)
        return Job(
            f"src{n}", "tables", space, (_output(self.shapes[name]),), alphabet=self.alphabet
        )

    def _recipe(self, n: int) -> Recipe:
        main = self._chosen()
        others = [shape for shape in self.shapes.values() if shape.name != main.name]
        target, read = self._main_read(main)
        inputs, reads = [main], [read]
        if read.grouped is None and others and self.rng.random() < 0.4:
            other = self.rng.choice(others)
            inputs.append(other)
            reads.append(any_read(self.rng, other.name, other.space, target))
        names = [f"d{n}", f"e{n}"][: self.rng.choice([1, 1, 1, 2])]
        job = Job(
            name=f"job{n}",
            dag="tables",
            space=target,
            outputs=tuple(Output(name, ()) for name in names),
            reads=tuple(replace(read, wait_for="any") for read in reads),
            per_task=self.rng.choice([1, 1, 2]),
        )
        recipe = Recipe(job, tuple(inputs), f"{self.seed} {n}", self.rng.randrange(100))
        outputs = tuple(_output(select.shape) for select in recipe.selects.values())
        return replace(recipe, job=replace(job, outputs=outputs))

    def _chosen(self) -> Shape:
        """Choose a main input, most often the newest or a source."""
        shapes = list(self.shapes.values())
        return self.rng.choice([shapes[-1], shapes[0], *shapes])

    def _main_read(self, main: Shape) -> tuple[Space, Read]:
        if GROUPED.name in main.named("text") and self.rng.random() < 0.35:
            grouped = replace(GROUPED, keys=self.alphabet)
            rest = main.space if self.rng.random() < 0.4 and len(main.space) < 2 else ()
            target: Space = (grouped, *(d for d in rest if d.name != grouped.name))
            read = grouped_read(self.rng, main.name, main.space, target)
            assert read is not None
            return target, read
        target = self._target(main.space)
        return target, any_read(self.rng, main.name, main.space, target)


def _output(shape: Shape) -> Output:
    return Output(shape.name, tuple(name for name, _ in shape.kinds))
