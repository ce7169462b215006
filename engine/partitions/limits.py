"""Limits on sets that are small as intervals, but may be huge as lists."""

from engine.errors import TooManyPartitions

MAX_KEYS = 2_000_000
"""Maximum number of keys, or texts, in the listing of a set."""
MAX_PIECES = 5_000_000
"""Maximum number of pieces in a combination of sets."""


def can_be_listed(count: int, limit: int | None = None) -> bool:
    """Return True for at most ``limit`` keys, by default `MAX_KEYS`."""
    return count <= (MAX_KEYS if limit is None else limit)


def check_keys(count: int, what: str) -> None:
    """Raise TooManyPartitions if a set has too many keys for a listing."""
    if count > MAX_KEYS:
        raise TooManyPartitions(
            f"{what} has {count:,} partitions, and at most {MAX_KEYS:,} can be listed at once; "
            "name fewer, or bound the dimension"
        )


def check_pieces(count: int) -> None:
    """Raise TooManyPartitions if a combination of sets has too many pieces."""
    if count > MAX_PIECES:
        raise TooManyPartitions(
            f"the ranges overlap in more than {MAX_PIECES:,} places and cannot be combined; "
            "name fewer ranges at once"
        )
