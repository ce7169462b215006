"""Where to read a partition on, and what has been lost if that is not where we stood."""

from dataclasses import dataclass

from consumers.kafka.position import Position
from consumers.kafka.settings import Start
from engine.model.event import Advance, Rejection


@dataclass(frozen=True, slots=True)
class Log:
    """What a partition holds: offsets from `start` up to, not including, `end`.

    `topic_id` is None where the broker does not tell.
    """

    stream: str
    start: int
    end: int
    topic_id: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """The position to read on from, how the stored one moves there, and what that passes over."""

    position: Position
    advance: Advance | None = None
    loss: Rejection | None = None


def place(log: Log, stored: str | None, start: Start) -> Place:
    """Find the place for a stored position, which the log may have left behind or cut off.

    Whatever happens to a log, the answer is stored before anything is read, so that the next
    start finds it.
    """
    if stored is None:
        return _move(log, None, log.start if start == "earliest" else log.end)
    position = Position.from_text(stored)
    offset = position.offset
    if not position.may_be_of(log.topic_id):
        return _move(log, stored, log.start, _renewed(log, position))
    if offset < log.start:
        return _move(log, stored, log.start, _expired(log, offset))
    if offset > log.end:
        return _move(log, stored, log.start, _cut(log, offset))
    if log.topic_id and not position.topic_id:
        return _move(log, stored, offset)
    return Place(position)


def _move(log: Log, stored: str | None, offset: int, loss: Rejection | None = None) -> Place:
    position = Position(offset, log.topic_id)
    advance = Advance(stream=log.stream, before=stored, after=position.to_text())
    return Place(position, advance, loss)


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


def _renewed(log: Log, position: Position) -> Rejection:
    return _loss(
        log,
        f"{position.offset}..",
        f"lost: offset {position.offset} was next in the topic of id {position.topic_id}, but the "
        f"topic was made anew and now has id {log.topic_id}; it is read from {log.start}: "
        "invalidate by hand what the old topic may have said after that offset",
    )


def _loss(log: Log, position: str, error: str) -> Rejection:
    return Rejection(stream=log.stream, position=position, payload=None, error=error, is_loss=True)
