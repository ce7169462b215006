"""The offset at which a partition is resumed, and the messages lost before it."""

from dataclasses import dataclass

from consumers.kafka.position import Position
from consumers.kafka.settings import Start
from engine.model.event import Advance, Rejection


@dataclass(frozen=True, slots=True)
class Log:
    """The log of a partition: offsets from `start` up to, not including, `end`.

    `topic_id` is None if the broker does not report it.
    """

    stream: str
    start: int
    end: int
    topic_id: str | None = None


@dataclass(frozen=True, slots=True)
class StartOffset:
    """The position to resume from, the change of the stored position, and the messages lost."""

    position: Position
    advance: Advance | None = None
    loss: Rejection | None = None


def start_offset(log: Log, stored: str | None, start: Start) -> StartOffset:
    """Find the start offset for a stored position, which may be outside of the current log.

    A corrected position is stored before anything is read, so that the next start resumes from it.
    """
    if stored is None:
        return _moved(log, None, log.start if start == "earliest" else log.end)
    position = Position.from_text(stored)
    offset = position.offset
    if not position.may_be_of(log.topic_id):
        return _moved(log, stored, log.start, _recreated(log, position))
    if offset < log.start:
        return _moved(log, stored, log.start, _expired(log, offset))
    if offset > log.end:
        return _moved(log, stored, log.start, _truncated(log, offset))
    if log.topic_id and not position.topic_id:
        return _moved(log, stored, offset)
    return StartOffset(position)


def _moved(log: Log, stored: str | None, offset: int, loss: Rejection | None = None) -> StartOffset:
    position = Position(offset, log.topic_id)
    advance = Advance(stream=log.stream, before=stored, after=position.to_text())
    return StartOffset(position, advance, loss)


def _expired(log: Log, offset: int) -> Rejection:
    last = log.start - 1
    return _loss(
        log,
        f"{offset}..{last}",
        f"lost: the broker deleted offsets {offset} to {last} before they were read; invalidate "
        "the partitions they may have affected manually, and increase the topic's retention",
    )


def _truncated(log: Log, offset: int) -> Rejection:
    return _loss(
        log,
        f"{offset}..",
        f"lost: offset {offset} was next, but the log ends at {log.end}, so the topic was "
        f"recreated or truncated; it is read again from offset {log.start}. Invalidate manually "
        "the partitions that messages after that offset may have affected",
    )


def _recreated(log: Log, position: Position) -> Rejection:
    return _loss(
        log,
        f"{position.offset}..",
        f"lost: offset {position.offset} was next in the topic with id {position.topic_id}, but "
        f"the topic was recreated and now has id {log.topic_id}; it is read from offset "
        f"{log.start}. Invalidate manually the partitions that messages of the old topic after "
        "that offset may have affected",
    )


def _loss(log: Log, position: str, error: str) -> Rejection:
    return Rejection(stream=log.stream, position=position, payload=None, error=error, is_loss=True)
