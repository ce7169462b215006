"""Outputs that read other input partitions than before, by changed bounds, key lists or key maps.

The content of the inputs is the same: only the partitions that exist, or are read, differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.partitions import Mapping, PartitionSet, PartitionSpace


@dataclass(frozen=True, slots=True)
class InputChange:
    """Partitions of an input before and after a change of its bounds.

    ``gone`` existed within the bounds before, and are outside now; ``staying`` existed before, and
    are within the bounds now. Of a source, all possible partitions count as existing, because rows
    that no event has named are read as well. ``known`` are those that exist by events or runs, from
    which the last one is taken.
    """

    known: PartitionSet
    gone: PartitionSet
    staying: PartitionSet

    @staticmethod
    def of(known: PartitionSet, now: PartitionSpace, *, is_source: bool) -> InputChange:
        """Compare the partitions of an input with the partition space it has now."""
        before = known.space
        existing = before.universe if is_source else known
        return InputChange(known, existing - before.part_of(now.universe), now.part_of(existing))


def reading_otherwise(
    before: Mapping, now: Mapping, change: InputChange, among: PartitionSet
) -> PartitionSet:
    """Return those output partitions that read other partitions of an input than before.

    ``among`` are partitions within the present bounds. Those outside the earlier bounds are left
    out, because they have not been built.
    """
    shared = among & now.target.part_of(before.target.universe)
    if before.to_spec() == now.to_spec() and not now.takes_last:
        return shared & now.target.part_of(before.down(change.gone))
    remaining = change.staying & now.source.part_of(change.known)
    space = now.target
    return space.from_keys(
        key
        for key in space.keys(shared)
        if _reads_otherwise(before, now, change, remaining, space.parse(key))
    )


def reads_otherwise(before: Mapping, now: Mapping, change: InputChange) -> bool:
    """Return True if a job reads other partitions of an input than before for all its partitions.

    Partitions within the bounds of one version only are left out.
    """
    remaining = change.staying & now.source.part_of(change.known)
    shared = now.target.part_of(before.target.universe)
    return _reads_otherwise(before, now, change, remaining, shared)


def _reads_otherwise(
    before: Mapping,
    now: Mapping,
    change: InputChange,
    remaining: PartitionSet,
    partitions: PartitionSet,
) -> bool:
    read = before.up(before.target.part_of(partitions), change.known)
    read_now = now.up(partitions, remaining) & change.staying
    return bool(read & change.gone) or now.source.part_of(read) & change.staying != read_now
