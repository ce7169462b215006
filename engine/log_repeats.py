"""Suppress repetitions of a log line: an outage leaves a few lines instead of thousands."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

_SHORTEST_SECONDS = 60.0
_LONGEST_SECONDS = 600.0
_MAX_LINES = 1000


@dataclass(slots=True)
class _Line:
    shown_at: float
    pause: float = _SHORTEST_SECONDS
    held_back: int = 0


class HoldBackRepeats(logging.Filter):
    """Log a warning or error immediately, and its repetitions at increasing intervals.

    The first interval is a minute. The next line logged carries the number of suppressed lines as
    ``repeated``. Lines are equal if logger, level and the whole text are equal. A line with a
    traceback is never suppressed, because its text does not contain the cause.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lines: dict[tuple[str, int, str], _Line] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if the record is to be logged."""
        if record.levelno < logging.WARNING or _has_traceback(record):
            return True
        key, now = (record.name, record.levelno, _text(record)), self._clock()
        line = self._lines.pop(key, None)
        if line is not None and now - line.shown_at < line.pause:
            line.held_back += 1
            self._remember(key, line)
            return False
        self._remember(key, _Line(now, _pause(line, now)))
        if line is not None and line.held_back:
            _annotate(record, line.held_back)
        return True

    def _remember(self, key: tuple[str, int, str], line: _Line) -> None:
        """Insert a line as the most recent; evict the least recent one beyond the limit."""
        self._lines[key] = line
        if len(self._lines) > _MAX_LINES:
            del self._lines[next(iter(self._lines))]


def _pause(before: _Line | None, now: float) -> float:
    """Double the interval while the line repeats."""
    if before is None or now - before.shown_at > 2 * before.pause:
        return _SHORTEST_SECONDS
    return min(2 * before.pause, _LONGEST_SECONDS)


def _has_traceback(record: logging.LogRecord) -> bool:
    return bool(record.exc_info) or (isinstance(record.msg, dict) and "exc_info" in record.msg)


def _text(record: logging.LogRecord) -> str:
    """Return the line without its timestamp; structlog passes its event as a dict."""
    if isinstance(record.msg, dict):
        return repr({name: value for name, value in record.msg.items() if name != "timestamp"})
    return record.getMessage()


def _annotate(record: logging.LogRecord, held_back: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, "repeated": held_back}
    else:
        record.msg, record.args = f"{record.getMessage()} (repeated {held_back} times)", ()
