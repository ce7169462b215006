"""Partitions of its inputs that a run may read.

The table of an input may have rows of partitions that do not exist in the current dataset version:
rows of an earlier version, of an attempt that never completed, or older than the adoption of the
table. They are invisible, except in sources, whose rows may be older than their first event.

Everything is derived from the lease, so that a deploy during a run has no effect on the run.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache

import msgspec

from engine import partitions
from engine.model.task import Lease
from engine.partitions import PartitionSet, PartitionSpace


def visible(lease: Lease, alias: str, target: PartitionSet, existing: PartitionSet) -> PartitionSet:
    """Return the partitions of an input to read for the target partitions."""
    mapped = needed(lease, alias, target)
    return mapped if existing.covers(mapped) else mapped & existing


def existing_partitions(lease: Lease, alias: str) -> PartitionSet:
    """Return the partitions of an input that existed at the claim; all possible ones of a source.

    Only partitions needed by the run are included.
    """
    dataset = lease.inputs[alias]
    space = space_of(dataset.partitioning)
    if dataset.id in lease.sources:
        return space.universe
    return space.from_keys(_existing_keys(lease, alias))


def needed(lease: Lease, alias: str, target: PartitionSet) -> PartitionSet:
    """Return the input partitions, existing or not, that the mapping gives for the target."""
    source = space_of(lease.inputs[alias].partitioning)
    mapping = _mapping_of(lease, alias)
    if not mapping.takes_last:
        return mapping.up(target)
    # The last partition is that of all targets, and may not exist for these.
    keys = list(_existing_keys(lease, alias)) or _recorded(lease, alias)
    return mapping.up(target, source.from_keys(keys))


@cache
def space_of(partitioning: str) -> PartitionSpace:
    """Return the partition space described by JSON text."""
    return PartitionSpace.from_spec(msgspec.json.decode(partitioning))


def _existing_keys(lease: Lease, alias: str) -> Iterator[str]:
    """Return the keys of an input that existed at the claim, whose versions the run records."""
    return (key for key, version in _recorded(lease, alias).items() if version is not None)


def _recorded(lease: Lease, alias: str) -> Mapping[str, datetime | None]:
    return lease.input_versions.get(str(lease.inputs[alias].id), {})


def _mapping_of(lease: Lease, alias: str) -> partitions.Mapping:
    (spec,) = (entry.mapping for entry in lease.job.inputs if entry.alias == alias)
    source, target = lease.inputs[alias].partitioning, lease.outputs[0].partitioning
    return _mapping(msgspec.json.encode(spec, order="deterministic"), source, target)


@cache
def _mapping(spec: bytes, source: str, target: str) -> partitions.Mapping:
    return partitions.Mapping.from_spec(
        msgspec.json.decode(spec), space_of(source), space_of(target)
    )
