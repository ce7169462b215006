"""Where to read a partition on, and what has been lost if that is not where we stood."""

from dataclasses import dataclass

from consumers.kafka.settings import Start
from engine.model.event import Advance, Rejection


@dataclass(frozen=True, slots=True)
class Log:
    """What a partition holds: offsets from `start` up to, not including, `end`."""

    stream: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """The offset to read on from, how the position moves there, and what that passes over."""

    offset: int
    advance: Advance | None = None
    loss: Rejection | None = None


def place(log: Log, stored: str | None, start: Start) -> Place:
    """Find the place for a stored position, which the log may have left behind or cut off.

    Whatever happens to a log, the answer is stored before anything is read, so that the next
    start finds it.
    """
    if stored is None:
        return _move(log, None, log.start if start == "earliest" else log.end)
    offset = int(stored)
    if offset < log.start:
        return _move(log, stored, log.start, _expired(log, offset))
    if offset > log.end:
        return _move(log, stored, log.start, _cut(log, offset))
    return Place(offset)


def _move(log: Log, stored: str | None, offset: int, loss: Rejection | None = None) -> Place:
    return Place(offset, Advance(stream=log.stream, before=stored, after=str(offset)), loss)


def _expired(log: Log, offset: int) -> Rejection:
    last = log.start - 1
    return _loss(
        log,
        f"{offset}..{last}",
        f"lost: the broker deleted offsets {offset} to {last} before they were read; invalidate "
        "by hand what they may have been about, and give the topic a longer retention",
    )


def _cut(log: Log, offset: int) -> Rejection:
    return _loss(
        log,
        f"{offset}..",
        f"lost: offset {offset} was next, but the log ends at {log.end}, so the topic was made "
        f"anew or cut off; it is read again from {log.start}: invalidate by hand what the old "
        "log may have said after that offset",
    )


def _loss(log: Log, position: str, error: str) -> Rejection:
    return Rejection(stream=log.stream, position=position, payload=None, error=error)
