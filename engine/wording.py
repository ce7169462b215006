"""Numbers, durations and lists in words, for messages to people."""

import re
from collections.abc import Iterable

_TRACEBACK = re.compile(r"(Exception Group )?Traceback \(most recent call last\):")


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


def summary(error: str | None) -> str:
    """Return the cause in the text of an error: the first line, or the exception of a traceback.

    The lines after the first are context, such as the functions of the database that were running.
    """
    lines = (error or "").strip("\n").splitlines() or [""]
    if not _TRACEBACK.search(lines[0]):
        return lines[0].strip()
    # The last traceback is of the exception raised, the earlier ones are of its causes; those of
    # an exception group are indented.
    headers = ((number, _TRACEBACK.search(line)) for number, line in enumerate(lines))
    number, column = [(number, header.start()) for number, header in headers if header][-1]
    outdented = (line[column:] for line in lines[number + 1 :] if line[column : column + 1].strip())
    return next(outdented, lines[-1]).strip()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 task`, `2 tasks`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
