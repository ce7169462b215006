"""Keys of instants: records come at instants of their own, but in few windows."""

from bisect import bisect_right

from engine.errors import InvalidPartition
from engine.partitions import TimeDimension

_MOST = 65_536


class Windows:
    """The windows of a time dimension that have been met, to be found again by any instant."""

    def __init__(self, dimension: TimeDimension) -> None:
        self._dimension = dimension
        self._begins: list[int] = []
        self._found: list[tuple[int, str | None]] = []  # the end of each, and its key

    def key(self, instant: int) -> str | None:
        """The key of the window that an instant, in seconds, lies in; None where it has none."""
        at = bisect_right(self._begins, instant)
        if at:
            end, key = self._found[at - 1]
            if instant < end:
                return key
        try:
            return self._learned(at, instant)
        except (InvalidPartition, OverflowError, ValueError):  # beyond the years that a key names
            return None

    def _learned(self, at: int, instant: int) -> str | None:
        calendar, universe = self._dimension.calendar, self._dimension.universe
        (ordinal,) = calendar.at([instant])
        key = self._dimension.format(ordinal) if ordinal in universe else None
        begin, end = calendar.starts([ordinal, ordinal + 1])
        if begin <= instant < end and len(self._begins) < _MOST:
            self._begins.insert(at, begin)
            self._found.insert(at, (end, key))
        return key
