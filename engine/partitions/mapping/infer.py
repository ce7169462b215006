"""Inference of the mapping between two partition spaces."""

from __future__ import annotations

from typing import Any

from engine.errors import InvalidMapping
from engine.partitions.dimension import Dimension, OrderedDimension
from engine.partitions.space import PartitionSpace
from engine.partitions.time_dimension import TimeDimension


def infer(source: PartitionSpace, target: PartitionSpace, where: str = "mapping") -> Any:
    """Return the spec of the obvious mapping, for `Mapping.from_spec`.

    Equal spaces are mapped key by key. An unpartitioned dataset is mapped to all partitions.
    Otherwise dimensions of the same name and kind are linked, and so is the only time dimension on
    each side, even with different names. Other dimensions have no link.

    Raises:
        InvalidMapping: no mapping is obvious, so that the DAG file must specify one.
    """
    if source == target:
        return "identity"
    if not source.dimensions or not target.dimensions:
        return "all"
    pairs = {**_time_pair(source, target, where), **_equal_names(source, target, where)}
    if not pairs:
        raise InvalidMapping(
            f"{where}: {source.to_spec()} and {target.to_spec()} share no dimension; "
            'specify a mapping in the DAG file, or "all"'
        )
    return {name: pairs.get(name, "all") for name in target.names}


def compatible(source: Dimension, target: Dimension) -> bool:
    """Return True if windows or texts alone can relate the keys."""
    if isinstance(source, OrderedDimension) and isinstance(target, OrderedDimension):
        return source.kind == target.kind
    return not source.is_ordered and not target.is_ordered


def _equal_names(source: PartitionSpace, target: PartitionSpace, where: str) -> dict[str, str]:
    shared = [name for name in target.names if name in source.names]
    for name in shared:
        if not compatible(source[name], target[name]):
            raise InvalidMapping(
                f"{where}: {name!r} has a different kind on each side; "
                "specify a mapping in the DAG file"
            )
    return {name: name for name in shared}


def _time_pair(source: PartitionSpace, target: PartitionSpace, where: str) -> dict[str, str]:
    """Pair the only time dimensions of both sides if their names differ."""
    of_source, of_target = _time_names(source), _time_names(target)
    sources = [name for name in of_source if name not in target.names]
    targets = [name for name in of_target if name not in source.names]
    if not sources or not targets:
        return {}
    if len(of_source) > 1 or len(of_target) > 1:
        raise InvalidMapping(
            f"{where}: any of {sources} could map to any of {targets}; "
            "specify a mapping in the DAG file"
        )
    return {targets[0]: sources[0]}


def _time_names(space: PartitionSpace) -> list[str]:
    return [name for name, dimension in space.dimensions if isinstance(dimension, TimeDimension)]
