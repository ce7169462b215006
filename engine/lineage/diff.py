"""Comparison of two versions of a DAG, and the datasets to be rebuilt."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import product

import msgspec
import networkx as nx

from engine.lineage.columns import (
    PRUNED,
    ColumnMap,
    DirtyColumns,
    Pruning,
    column_map,
    propagate_columns,
    union_columns,
)
from engine.lineage.compiled import CompiledColumn, CompiledDag, CompiledDataset, CompiledJob
from engine.model.states import Activation

_DERIVED = {"config_hash", "schema_hash", "index", "job"}
_Ends = tuple[str, str]
"""(input dataset, output dataset)."""
Regenerated = Mapping[str, tuple[str, ...] | None]
"""Sorted columns with possibly different content, by dataset; None: all columns."""


class DagDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Job names in file order, and the datasets that need a new version.

    ``changed`` maps each job to its changed keys, not all of which affect its outputs.
    ``regenerated`` has each dataset to be rebuilt.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: dict[str, tuple[str, ...]] = {}
    unchanged: tuple[str, ...] = ()
    regenerated: Regenerated = {}


def diff(
    previous: CompiledDag | None,
    new: CompiledDag,
    elsewhere: Regenerated | None = None,
) -> DagDiff:
    """Compare a version with the previous one; without one, every job is added.

    ``elsewhere`` has the regenerated datasets of other DAGs, in the form of ``regenerated``.
    """
    old, now = _by_name(previous), _by_name(new)
    changes = {name: tuple(_changes(old[name], now[name])) for name in now if name in old}
    return DagDiff(
        added=tuple(name for name in now if name not in old),
        removed=tuple(name for name in old if name not in now),
        changed={name: keys for name, keys in changes.items() if keys},
        unchanged=tuple(name for name, keys in changes.items() if not keys),
        regenerated=_regenerated(previous, old, now, new, elsewhere or {}),
    )


class _Made(msgspec.Struct, frozen=True):
    """A job with its datasets and column lineage."""

    job: CompiledJob
    datasets: tuple[CompiledDataset, ...]
    columns: tuple[CompiledColumn, ...]


def _by_name(dag: CompiledDag | None) -> dict[str, _Made]:
    if dag is None:
        return {}
    datasets: dict[str, list[CompiledDataset]] = {job.name: [] for job in dag.jobs}
    columns: dict[str, list[CompiledColumn]] = {job.name: [] for job in dag.jobs}
    for dataset in dag.datasets:
        datasets[dataset.job].append(dataset)
    for column in dag.columns:
        columns[column.job].append(column)
    return {
        job.name: _Made(job, tuple(datasets[job.name]), tuple(columns[job.name]))
        for job in dag.jobs
    }


def _changes(old: _Made, new: _Made) -> Iterator[str]:
    yield from _differing(old.job, new.job)
    pairs = zip(old.datasets, new.datasets, strict=False)
    yield from dict.fromkeys(key for pair in pairs for key in _differing(*pair))
    if old.columns != new.columns:
        yield "column_lineage"


def _differing(old: msgspec.Struct, new: msgspec.Struct) -> Iterator[str]:
    for key in new.__struct_fields__:
        if key not in _DERIVED and getattr(old, key) != getattr(new, key):
            yield key


def _regenerated(
    previous: CompiledDag | None,
    old: Mapping[str, _Made],
    now: Mapping[str, _Made],
    new: CompiledDag,
    elsewhere: Regenerated,
) -> dict[str, tuple[str, ...] | None]:
    """Propagate dirty columns through the jobs in topological order.

    The lineage of both versions applies, because a removed column is read in the previous one only.
    """
    dirty = {name: None if each is None else frozenset(each) for name, each in elsewhere.items()}
    dirty |= _dirty_sources(previous, new)
    maps = [_column_maps(dag.columns) for dag in (previous, new) if dag]
    for name in _order(new):
        if now[name].job.activation != Activation.SOURCE:
            dirty |= _dirty_outputs(old.get(name), now[name], dirty, maps)
    return {
        each.name: None if (columns := dirty[each.name]) is None else tuple(sorted(columns))
        for each in new.datasets
        if each.name in dirty
    }


def _order(dag: CompiledDag) -> Iterator[str]:
    """Iterate over the job names in topological order."""
    producers = {dataset.name: dataset.job for dataset in dag.datasets}
    graph: nx.DiGraph[str] = nx.DiGraph()
    for job in dag.jobs:
        graph.add_node(job.name)
        read = (producers[name] for name in job.input_datasets if name in producers)
        graph.add_edges_from((producer, job.name) for producer in read)
    yield from nx.topological_sort(graph)


def _column_maps(columns: Iterable[CompiledColumn]) -> dict[_Ends, ColumnMap]:
    pairs: dict[_Ends, list[tuple[str, str]]] = {}
    for each in columns:
        ends = each.input_dataset, each.output_dataset
        pairs.setdefault(ends, []).append((each.output_column, each.input_column))
    return {ends: column_map(found) for ends, found in pairs.items()}


def _dirty_outputs(
    old: _Made | None,
    new: _Made,
    dirty: Mapping[str, DirtyColumns],
    maps: Sequence[Mapping[_Ends, ColumnMap]],
) -> dict[str, DirtyColumns]:
    """Return the dirty columns of a job's outputs: either all outputs are rebuilt, or none."""
    read = [name for name in new.job.input_datasets if name in dirty]
    found: dict[str, list[DirtyColumns]] = {}
    for i, dataset in enumerate(new.datasets):
        ends = product(maps, ((name, dataset.name) for name in read))
        through = [propagate_columns(each.get(pair), dirty[pair[0]]) for each, pair in ends]
        changes = [_own_dirt(old, new, i), *through]
        found[dataset.name] = [each for each in changes if each is not PRUNED]
    if not any(found.values()):
        return {}
    nothing: DirtyColumns = frozenset()
    return {name: reduce(union_columns, changes, nothing) for name, changes in found.items()}


def _own_dirt(old: _Made | None, new: _Made, index: int) -> DirtyColumns | Pruning:
    """Return the columns made dirty by a change of the job itself, regardless of its inputs."""
    if old is None or old.job.config_hash != new.job.config_hash:
        return None
    return _regrown(old.datasets[index], new.datasets[index])


def _regrown(old: CompiledDataset, new: CompiledDataset) -> DirtyColumns | Pruning:
    """Return the columns added or removed because the input columns of a `SELECT *` changed."""
    if old.columns is None or new.columns is None:
        return PRUNED
    return _other_columns(old.columns, new.columns)


def _dirty_sources(previous: CompiledDag | None, new: CompiledDag) -> dict[str, DirtyColumns]:
    """Return the dirty columns of changed sources, even if a source moved to another job."""
    before = {each.name: each for each in previous.sources} if previous else {}
    dirt = {each.name: _own_dirt_of_source(before.get(each.name), each) for each in new.sources}
    return {name: each for name, each in dirt.items() if each is not PRUNED}


def _own_dirt_of_source(
    old: CompiledDataset | None, new: CompiledDataset
) -> DirtyColumns | Pruning:
    """Return the dirty columns of a source: all if it is new, or stored or partitioned differently.

    Otherwise only added and removed columns are dirty.
    """
    if old is None or _place(old) != _place(new):
        return None
    if old.columns is None or new.columns is None:
        return PRUNED if old.columns == new.columns else None
    return _other_columns(old.columns, new.columns)


def _place(dataset: CompiledDataset) -> tuple[str, bytes]:
    return dataset.partitioning, msgspec.json.encode(dataset.storage, order="deterministic")


def _other_columns(old: Iterable[str], new: Iterable[str]) -> DirtyColumns | Pruning:
    return frozenset(old) ^ frozenset(new) or PRUNED
