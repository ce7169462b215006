"""Numbers, durations and lists in words, for messages to people."""

from collections.abc import Iterable


def span(seconds: float) -> str:
    """Return a duration in the largest unit that fits: `42s`, `3m`, `5h`, `2d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def some(items: Iterable[object], most: int = 4) -> str:
    """Return the first items of a list, and the number of the others."""
    listed = [str(item) for item in items]
    more = f" +{len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 task`, `2 tasks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
