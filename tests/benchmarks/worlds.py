"""Synthetic lineages of any size, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from tests.support.lineages import ColumnEdge, with_columns

DAILY = '{"dt":{"time":"day"}}'


@dataclass(frozen=True, slots=True)
class World:
    """Blueprint of a lineage; job n makes dataset n, and the first jobs are sources."""

    datasets: list[Dataset]
    jobs: list[Job]
    columns: list[ColumnEdge]

    def lineage(self) -> Lineage:
        return Lineage.build(self.datasets, with_columns(self.jobs, self.columns))


def layered(jobs: int, inputs: int, columns: int, window: int = 1000, seed: int = 0) -> World:
    """Each job reads up to ``inputs`` datasets out of the ``window`` before its own.

    ``columns`` is the total number of column edges. The first hundredth of jobs are sources.
    """
    random = Random(seed)
    sources = max(1, jobs // 100)
    datasets = [_dataset(n, random) for n in range(jobs)]
    read = [_read(n, inputs, window, random) if n >= sources else [] for n in range(jobs)]
    made = [_job(datasets, n, read[n], random) for n in range(jobs)]
    edges = [(n, source) for n in range(sources, jobs) for source in read[n]]
    return World(datasets, made, list(_columns(datasets, edges, columns, random)))


def chain(jobs: int, seed: int = 0) -> World:
    """One source, and each job reads its predecessor."""
    random = Random(seed)
    datasets = [_dataset(n, random) for n in range(jobs)]
    return World(datasets, [_job(datasets, n, [n - 1][:n], random) for n in range(jobs)], [])


def star(jobs: int, columns: Sequence[str] = (), seed: int = 0) -> World:
    """One source read by all other jobs, each reading one of ``columns`` if given."""
    random = Random(seed)
    datasets = [_dataset(n, random) for n in range(jobs)]
    made = [_job(datasets, n, [0][:n], random) for n in range(jobs)]
    lineage = [
        (datasets[n].id, "value", datasets[0].id, columns[n % len(columns)])
        for n in range(1, jobs)
        if columns
    ]
    return World(datasets, made, lineage)


def _read(n: int, inputs: int, window: int, random: Random) -> list[int]:
    return sorted(random.sample(range(max(0, n - window), n), min(inputs, n)))


def _columns(
    datasets: list[Dataset], edges: list[tuple[int, int]], count: int, random: Random
) -> Iterator[ColumnEdge]:
    for i in range(count):
        target, source = edges[i % len(edges)]
        names = f"column_{random.randrange(200)}", f"column_{random.randrange(200)}"
        yield datasets[target].id, names[0], datasets[source].id, names[1]


def _dataset(n: int, random: Random) -> Dataset:
    return Dataset(_id(random), _id(random), f"dataset_{n}", DAILY)


def _job(datasets: list[Dataset], n: int, read: list[int], random: Random) -> Job:
    inputs = tuple(
        JobInput(datasets[i].id, datasets[i].name, f"input_{i}", "identity") for i in read
    )
    return Job(
        id=_id(random),
        name=f"job_{n}",
        dag_name="world",
        activation="reactive" if read else "source",
        strategy="PerPartition",
        inputs=inputs,
        outputs=(datasets[n].id,),
    )


def _id(random: Random) -> UUID:
    return UUID(int=random.getrandbits(128), version=4)
