"""Cache of time windows: rows have distinct instants, but fall into few windows."""

from bisect import bisect_right

from engine.errors import InvalidPartition
from engine.partitions import TimeDimension

_MAX_WINDOWS = 65_536


class Windows:
    """The windows of a time dimension computed so far, searchable by instant."""

    def __init__(self, dimension: TimeDimension) -> None:
        self._dimension = dimension
        self._begins: list[int] = []
        self._windows: list[tuple[int, str | None]] = []  # end and key of each window

    def key(self, instant: int) -> str | None:
        """The key of the window that contains an instant in seconds; None if there is no key."""
        at = bisect_right(self._begins, instant)
        if at:
            end, key = self._windows[at - 1]
            if instant < end:
                return key
        try:
            return self._computed(at, instant)
        except (InvalidPartition, OverflowError, ValueError):  # a year that no key can name
            return None

    def _computed(self, at: int, instant: int) -> str | None:
        """Compute the window of an instant and cache it at index ``at``."""
        calendar, universe = self._dimension.calendar, self._dimension.universe
        (ordinal,) = calendar.at([instant])
        key = self._dimension.format(ordinal) if ordinal in universe else None
        begin, end = calendar.starts([ordinal, ordinal + 1])
        if begin <= instant < end and len(self._begins) < _MAX_WINDOWS:
            self._begins.insert(at, begin)
            self._windows.insert(at, (end, key))
        return key
