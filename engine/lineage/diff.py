"""Comparison of two versions of a DAG, and the datasets to be rebuilt."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import product

import msgspec
import networkx as nx

from engine.lineage.columns import (
    ALL_COLUMNS,
    PRUNED,
    ColumnMap,
    DirtyColumns,
    Pruning,
    column_map,
    dirty_columns,
    propagate_columns,
    stored_columns,
    union_columns,
)
from engine.lineage.compiled import CompiledColumn, CompiledDag, CompiledDataset, CompiledJob
from engine.lineage.definition import has_same_definition, own_columns
from engine.lineage.growth import shrunk_datasets
from engine.model.dataset import grid_of
from engine.model.states import Activation, UpdateStrategy

_DERIVED = {"config_hash", "schema_hash", "index", "job"}
_Ends = tuple[str, str]
"""(input dataset, output dataset)."""
Regenerated = Mapping[str, tuple[str, ...] | None]
"""Sorted columns with possibly different content, by dataset; None: all columns."""


class DagDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Job names in file order, and the datasets that need a new version.

    ``changed`` maps each job to its changed keys, not all of which affect its outputs.
    ``regenerated`` has each dataset with a new version: outputs are rebuilt, sources are not.
    ``shrunk`` are datasets that lose partitions of the same grid.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: dict[str, tuple[str, ...]] = {}
    unchanged: tuple[str, ...] = ()
    regenerated: Regenerated = {}
    shrunk: frozenset[str] = frozenset()


def diff(
    previous: CompiledDag | None,
    new: CompiledDag,
    other_dags: DagDiff | None = None,
) -> DagDiff:
    """Compare a version with the previous one; without one, every job is added.

    ``other_dags`` has the regenerated and the shrunk datasets of other DAGs.
    """
    old, now = _by_name(previous), _by_name(new)
    changes = {name: tuple(_changes(old[name], now[name])) for name in now if name in old}
    return DagDiff(
        added=tuple(name for name in now if name not in old),
        removed=tuple(name for name in old if name not in now),
        changed={name: keys for name, keys in changes.items() if keys},
        unchanged=tuple(name for name, keys in changes.items() if not keys),
        regenerated=_regenerated(previous, old, now, new, other_dags or DagDiff()),
        shrunk=shrunk_datasets(previous, new),
    )


class _JobDefinition(msgspec.Struct, frozen=True):
    """A job with its datasets and column lineage."""

    job: CompiledJob
    datasets: tuple[CompiledDataset, ...]
    columns: tuple[CompiledColumn, ...]


def _by_name(dag: CompiledDag | None) -> dict[str, _JobDefinition]:
    if dag is None:
        return {}
    datasets: dict[str, list[CompiledDataset]] = {job.name: [] for job in dag.jobs}
    columns: dict[str, list[CompiledColumn]] = {job.name: [] for job in dag.jobs}
    for dataset in dag.datasets:
        datasets[dataset.job].append(dataset)
    for column in dag.columns:
        columns[column.job].append(column)
    return {
        job.name: _JobDefinition(job, tuple(datasets[job.name]), tuple(columns[job.name]))
        for job in dag.jobs
    }


def _changes(old: _JobDefinition, new: _JobDefinition) -> Iterator[str]:
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
    old: Mapping[str, _JobDefinition],
    now: Mapping[str, _JobDefinition],
    new: CompiledDag,
    other_dags: DagDiff,
) -> dict[str, tuple[str, ...] | None]:
    """Propagate dirty columns through the jobs in topological order.

    The lineage of both versions applies, because a removed column is read in the previous one only.
    """
    dirty = {name: dirty_columns(columns) for name, columns in other_dags.regenerated.items()}
    dirty |= _dirty_sources(previous, new)
    shrunk = other_dags.shrunk | shrunk_datasets(previous, new)
    maps = [_column_maps(dag.columns) for dag in (previous, new) if dag]
    for name in _order(new):
        if now[name].job.activation != Activation.SOURCE:
            merges = _merges(now[name].job, shrunk)
            dirty |= _dirty_outputs(None if merges else old.get(name), now[name], dirty, maps)
    return {
        dataset.name: None
        if (columns := stored_columns(dirty[dataset.name])) is None
        else tuple(columns)
        for dataset in new.datasets
        if dataset.name in dirty
    }


def _merges(job: CompiledJob, shrunk: frozenset[str]) -> bool:
    """Return True if rows read from partitions that are gone would stay in the output."""
    is_append = job.update_strategy == UpdateStrategy.APPEND
    return is_append and not shrunk.isdisjoint(job.input_datasets)


def _order(dag: CompiledDag) -> Iterator[str]:
    """Iterate over the job names in topological order."""
    producers = {dataset.name: dataset.job for dataset in dag.datasets}
    graph: nx.DiGraph[str] = nx.DiGraph()
    for job in dag.jobs:
        graph.add_node(job.name)
        read = (producers[name] for name in job.input_datasets if name in producers)
        graph.add_edges_from((producer, job.name) for producer in read if producer != job.name)
    yield from nx.topological_sort(graph)


def _column_maps(columns: Iterable[CompiledColumn]) -> dict[_Ends, ColumnMap]:
    pairs: dict[_Ends, list[tuple[str, str]]] = {}
    for column in columns:
        ends = column.input_dataset, column.output_dataset
        pairs.setdefault(ends, []).append((column.output_column, column.input_column))
    return {ends: column_map(column_pairs) for ends, column_pairs in pairs.items()}


def _dirty_outputs(
    old: _JobDefinition | None,
    new: _JobDefinition,
    dirty: Mapping[str, DirtyColumns],
    maps: Sequence[Mapping[_Ends, ColumnMap]],
) -> dict[str, DirtyColumns]:
    """Return the dirty columns of a job's outputs: either all outputs are rebuilt, or none."""
    read = [name for name in new.job.input_datasets if name in dirty]
    changed: dict[str, list[DirtyColumns]] = {}
    for i, dataset in enumerate(new.datasets):
        ends = product(maps, ((name, dataset.name) for name in read))
        propagated = [
            propagate_columns(column_maps.get(pair), dirty[pair[0]]) for column_maps, pair in ends
        ]
        changes = [_own_dirt(old, new, i), *propagated]
        changed[dataset.name] = [columns for columns in changes if columns is not PRUNED]
    if not any(changed.values()):
        return {}
    nothing: DirtyColumns = frozenset()
    return {name: reduce(union_columns, changes, nothing) for name, changes in changed.items()}


def _own_dirt(
    old: _JobDefinition | None, new: _JobDefinition, index: int
) -> DirtyColumns | Pruning:
    """Return the columns made dirty by a change of the job itself, regardless of its inputs."""
    if old is None or not has_same_definition(old.job, old.datasets, new.job, new.datasets):
        return ALL_COLUMNS
    before, now = own_columns(old.datasets[index]), own_columns(new.datasets[index])
    # Columns of a `SELECT *` may be added or removed without a change of the job.
    return PRUNED if before is None or now is None else _other_columns(before, now)


def _dirty_sources(previous: CompiledDag | None, new: CompiledDag) -> dict[str, DirtyColumns]:
    """Return the dirty columns of changed sources, even if a source moved to another job."""
    before = {source.name: source for source in previous.sources} if previous else {}
    dirt = {
        source.name: _own_dirt_of_source(before.get(source.name), source) for source in new.sources
    }
    return {name: columns for name, columns in dirt.items() if columns is not PRUNED}


def _own_dirt_of_source(
    old: CompiledDataset | None, new: CompiledDataset
) -> DirtyColumns | Pruning:
    """Return the dirty columns of a source: all if it is new, or has another storage or grid.

    Otherwise only added and removed columns are dirty.
    """
    if old is None or _layout(old) != _layout(new):
        return ALL_COLUMNS
    if old.columns is None or new.columns is None:
        return PRUNED if old.columns == new.columns else ALL_COLUMNS
    return _other_columns(old.columns, new.columns)


def _layout(dataset: CompiledDataset) -> tuple[str, bytes]:
    return grid_of(dataset.partitioning), msgspec.json.encode(
        dataset.storage, order="deterministic"
    )


def _other_columns(old: Iterable[str], new: Iterable[str]) -> DirtyColumns | Pruning:
    return frozenset(old) ^ frozenset(new) or PRUNED
