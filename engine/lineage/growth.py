"""Partitions that enter or leave datasets by changed bounds and key lists of a new DAG version."""

from collections.abc import Iterator, Mapping

from engine.lineage.catalog import space_of
from engine.lineage.compiled import CompiledDag
from engine.partitions import PartitionSet, PartitionSpace

_MOST_TEXTS = 10
Texts = Mapping[str, tuple[str, ...]]
"""Partitions by dataset, as a few key or range texts."""
Spaces = tuple[PartitionSpace, PartitionSpace]
"""Partition spaces before and now, with the same grid."""


def changed_bounds(previous: CompiledDag | None, new: CompiledDag) -> Mapping[str, Spaces]:
    """Return both partition spaces of each dataset that keeps its grid, but not the partitions.

    A different order of listed keys counts as well, since the last key may be another one.
    """
    before = (
        {dataset.name: dataset.partitioning for dataset in previous.datasets} if previous else {}
    )
    spaces = {
        dataset.name: (space_of(before[dataset.name]), space_of(dataset.partitioning))
        for dataset in new.datasets
        if before.get(dataset.name, dataset.partitioning) != dataset.partitioning
    }
    return {name: (was, now) for name, (was, now) in spaces.items() if now.is_alike(was)}


def shrunk_datasets(previous: CompiledDag | None, new: CompiledDag) -> frozenset[str]:
    """Return the datasets that keep their grid, and lose partitions of it."""
    spaces = changed_bounds(previous, new).items()
    return frozenset(name for name, (was, now) in spaces if added(now, was))


def captured_tables(previous: CompiledDag | None, new: CompiledDag) -> Mapping[str, str]:
    """Return the PostgreSQL tables of sources with changed bounds, by dataset."""
    sources = {job.name: job.source or {} for job in new.jobs}
    tables = {each.name: sources[each.job].get("table") for each in new.sources}
    return {name: table for name in changed_bounds(previous, new) if (table := tables.get(name))}


def entering(previous: CompiledDag | None, new: CompiledDag) -> Texts:
    """Return the partitions that a new DAG version adds to datasets.

    Those of a source may have rows already, which no event has named.
    """
    return dict(_texts({n: (now, was) for n, (was, now) in changed_bounds(previous, new).items()}))


def leaving(previous: CompiledDag | None, new: CompiledDag) -> Texts:
    """Return the partitions that a new DAG version removes from datasets."""
    return dict(_texts(changed_bounds(previous, new)))


def added(before: PartitionSpace, now: PartitionSpace) -> PartitionSet:
    """Return the partitions of a space that an alike space lacks."""
    return now.universe - now.part_of(before.universe)


def _texts(spaces: Mapping[str, Spaces]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the partitions that the first space of each pair has, and the second lacks."""
    for name, (these, others) in spaces.items():
        if partitions := added(others, these):
            yield name, tuple(these.first_texts(partitions, _MOST_TEXTS))
