"""The mapping that two partition spaces make obvious."""

from __future__ import annotations

from typing import Any

from engine.errors import InvalidMapping
from engine.partitions.dimension import Dimension, OrderedDimension
from engine.partitions.space import PartitionSpace
from engine.partitions.time_dimension import TimeDimension


def infer(source: PartitionSpace, target: PartitionSpace, where: str = "mapping") -> Any:
    """The spec of the obvious mapping, for `Mapping.from_spec`.

    Equal spaces are mapped key by key, and everything to and from an unpartitioned one. Otherwise
    dimensions of the same name and kind meet, and so does the only time dimension on each side,
    whatever its name. The rest of the source is needed whole, the rest of the target touched whole.

    Raises:
        InvalidMapping: it is not obvious, and the DAG file must say.
    """
    if source == target:
        return "identity"
    if not source.dimensions or not target.dimensions:
        return "all"
    pairs = {**_times(source, target, where), **_namesakes(source, target, where)}
    if not pairs:
        raise InvalidMapping(
            f"{where}: {source.to_spec()} and {target.to_spec()} share no dimension; "
            'say in the DAG file how they meet, or "all"'
        )
    return {name: pairs.get(name, "all") for name in target.names}


def compatible(source: Dimension, target: Dimension) -> bool:
    """Whether keys can meet without being told how: by window, or by being the same text."""
    if isinstance(source, OrderedDimension) and isinstance(target, OrderedDimension):
        return source.kind == target.kind
    return not source.is_ordered and not target.is_ordered


def _namesakes(source: PartitionSpace, target: PartitionSpace, where: str) -> dict[str, str]:
    shared = [name for name in target.names if name in source.names]
    for name in shared:
        if not compatible(source[name], target[name]):
            raise InvalidMapping(
                f"{where}: {name!r} is of another kind on each side; "
                "say in the DAG file how its keys meet"
            )
    return {name: name for name in shared}


def _times(source: PartitionSpace, target: PartitionSpace, where: str) -> dict[str, str]:
    """The time dimensions that do not share a name; there may be one on each side."""
    of_source, of_target = _time_names(source), _time_names(target)
    sources = [name for name in of_source if name not in target.names]
    targets = [name for name in of_target if name not in source.names]
    if not sources or not targets:
        return {}
    if len(of_source) > 1 or len(of_target) > 1:
        raise InvalidMapping(
            f"{where}: any of {sources} could map to any of {targets}; say in the DAG file which"
        )
    return {targets[0]: sources[0]}


def _time_names(space: PartitionSpace) -> list[str]:
    return [name for name, each in space.dimensions if isinstance(each, TimeDimension)]
