"""Row filters with dates, wall times and offsets, over partitions of any grains and zones."""

from random import Random
from typing import Any
from uuid import UUID, uuid5

import msgspec
from hypothesis import given, note, settings
from hypothesis import strategies as st

from engine.errors import InvalidFilter
from engine.lineage.graph import Edge, Lineage
from engine.lineage.narrowing import narrow, pass_on
from engine.lineage.rows import RowFilter
from engine.model.dataset import Dataset
from engine.model.job import Job, JobInput
from engine.partitions import PartitionSet
from tests.support.filtered_times import (
    GRAINS,
    WITHOUT_CLOCK_CHANGES,
    ZONES,
    Stored,
    conditions,
    meets,
    random_filter,
    rows,
)


@st.composite
def chains(draw: st.DrawFn) -> tuple[str, list[Stored], dict[str, Any]]:
    """Datasets, each read by the next, and a filter of the first."""
    rng = draw(st.randoms(use_true_random=False))
    anchor = rng.choice(ZONES)
    near = [anchor, "UTC", rng.choice(ZONES)]
    grains = (None, *GRAINS)
    stored = [Stored(rng.choice(grains), rng.choice(near), anchor) for _ in range(3)]
    return anchor, stored, _valid_filter(rng, anchor)


def _valid_filter(rng: Random, anchor: str) -> dict[str, Any]:
    while True:
        spec = random_filter(rng, anchor)
        try:
            return RowFilter.parse(spec).spec()
        except InvalidFilter:
            continue


@settings(deadline=None, max_examples=200)
@given(chains())
def test_no_partition_with_a_matching_row_is_excluded(
    chain: tuple[str, list[Stored], dict[str, Any]],
) -> None:
    anchor, stored, spec = chain
    note(f"{[(each.grain, each.zone) for each in stored]} {spec}")
    first, *edges = _edges(stored)
    space = first.mapping.target
    found: list[PartitionSet] = [narrow(RowFilter.parse(spec), space, space.universe)]
    passed: list[RowFilter | None] = [RowFilter.parse(spec)]
    for edge in edges:
        universe = edge.mapping.target.universe
        reach = pass_on(passed[-1], edge, universe) if passed[-1] else (universe, None)
        found.append(reach[0])
        passed.append(reach[1])
    for column in rows(anchor):
        matching = [row for row in column if meets(spec, row, stored[0].filter_zone)]
        for dataset, partitions, filtered in zip(stored, found, passed, strict=True):
            keys = {dataset.key(row) for row in matching} - {None}
            assert keys <= {*partitions.space.keys(partitions)}
            if filtered:
                zone = dataset.filter_zone
                assert all(meets(filtered.spec(), row, zone) for row in matching)


@settings(deadline=None, max_examples=150)
@given(st.randoms(use_true_random=False))
def test_only_partitions_with_a_matching_row_are_selected(rng: Random) -> None:
    anchor = rng.choice(WITHOUT_CLOCK_CHANGES)
    spec = _valid_filter(rng, anchor)
    stored = [Stored(rng.choice(GRAINS), anchor, anchor) for _ in range(2)]
    note(f"{[(each.grain, each.zone) for each in stored]} {spec}")
    _, edge = _edges(stored)
    partitions, passed = pass_on(RowFilter.parse(spec), edge, edge.mapping.target.universe)
    assert passed == RowFilter.parse(spec)
    instants, _ = rows(anchor)
    matching = {stored[1].key(row) for row in instants}
    found = {*partitions.space.keys(partitions)} & matching
    # Each condition by itself excludes whole partitions.
    for condition in conditions(spec):
        matching &= {stored[1].key(row) for row in instants if meets(condition, row, anchor)}
    assert found == matching


def _edges(stored: list[Stored]) -> list[Edge]:
    """The first edge leads to the first dataset."""
    ids = [uuid5(UUID(int=1), str(n)) for n in range(len(stored) + 1)]
    specs = [{}, *(dataset.spec() for dataset in stored)]
    datasets = [
        Dataset(id_, id_, str(n), msgspec.json.encode(spec).decode())
        for n, (id_, spec) in enumerate(zip(ids, specs, strict=True))
    ]
    jobs = [_job(datasets, n) for n in range(len(datasets))]
    lineage = Lineage.build(datasets, jobs)
    return [lineage.inputs(job.id)[0] for job in jobs[1:]]


def _job(datasets: list[Dataset], n: int) -> Job:
    read = datasets[max(0, n - 1)]
    reads = JobInput(read.id, read.name, read.name, "all", preserved_columns={"at": ["at"]})
    return Job(
        id=uuid5(datasets[n].id, "job"),
        name=f"make {n}",
        dag_name="chain",
        activation="reactive" if n else "source",
        strategy="PerPartition",
        inputs=(reads,) if n else (),
        outputs=(datasets[n].id,),
    )
