"""Which partitions of its inputs a run may read.

Everything comes from the lease, so that a deploy in the middle of a run changes nothing.
"""

from collections.abc import Iterator
from functools import cache

import msgspec

from engine.model.task import Lease
from engine.partitions import PartitionSet, PartitionSpace
from engine.partitions.mapping import Mapping


def needed(lease: Lease, alias: str, made: PartitionSet) -> PartitionSet:
    """The partitions of an input that these output partitions are made from."""
    source = space_of(lease.inputs[alias].partitioning)
    mapping = _mapping_of(lease, alias)
    known = source.from_keys(_stamped(lease, alias)) if mapping.takes_last else None
    return mapping.up(made, known)


@cache
def space_of(partitioning: str) -> PartitionSpace:
    """The partition space that JSON text describes."""
    return PartitionSpace.from_spec(msgspec.json.decode(partitioning))


def _stamped(lease: Lease, alias: str) -> Iterator[str]:
    """What existed of an input at the claim: its stamps are what the run will be held to."""
    stamps = lease.input_versions.get(str(lease.inputs[alias].id), {})
    return (key for key, stamp in stamps.items() if stamp is not None)


def _mapping_of(lease: Lease, alias: str) -> Mapping:
    (spec,) = (each.mapping for each in lease.job.inputs if each.alias == alias)
    source, target = lease.inputs[alias].partitioning, lease.outputs[0].partitioning
    return _mapping(msgspec.json.encode(spec, order="deterministic"), source, target)


@cache
def _mapping(spec: bytes, source: str, target: str) -> Mapping:
    return Mapping.from_spec(msgspec.json.decode(spec), space_of(source), space_of(target))
