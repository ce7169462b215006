"""Limits on sets that are small as intervals and may be unbounded as a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import TooManyPartitions

if TYPE_CHECKING:
    from engine.partitions.sets import PartitionSet

MAX_KEYS = 2_000_000
"""Keys, or texts, that one set is listed as."""
MAX_PIECES = 5_000_000
"""Pieces that sets are cut into to be combined."""


def is_listable(partitions: PartitionSet, most: int | None = None) -> bool:
    """Return whether the keys of a set can be listed: there are at most so many."""
    return partitions.is_finite and partitions.count() <= (MAX_KEYS if most is None else most)


def check_keys(count: int, what: str) -> None:
    """Raise TooManyPartitions where a set has too many keys to be listed."""
    if count > MAX_KEYS:
        raise TooManyPartitions(
            f"{what} holds {count:,} partitions, and at most {MAX_KEYS:,} can be listed at once; "
            "name fewer, or bound the dimension"
        )


def check_pieces(count: int) -> None:
    """Raise TooManyPartitions where combining sets cuts them into too many pieces."""
    if count > MAX_PIECES:
        raise TooManyPartitions(
            f"the ranges overlap in more than {MAX_PIECES:,} places and cannot be combined; "
            "name fewer ranges at once"
        )
