"""From a delivery to what is ingested, or to the reason why it cannot be."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from consumers.formats.bounds import checked
from consumers.formats.format import Format
from engine.errors import InvalidEvent
from engine.model.event import (
    Delivery,
    Received,
    Rejection,
    RunReports,
    SourceEvent,
    rejection,
)
from engine.model.run_report import RunReport
from engine.model.told import Told
from engine.secrets import redacted

MAX_MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reader:
    """How the deliveries of one stream are read: by `format`, all about `dataset` if it is set.

    ``learn`` is what the format needs to be told of values before it can read them; it does I/O.
    ``is_bounded``: the format keeps its events within the bounds by itself. ``told`` is the column
    lineage in a value, where the format knows any, and ``run`` the event of a run in it.
    """

    format: Format
    dataset: str | None = None
    max_bytes: int = MAX_MESSAGE_BYTES
    learn: Callable[[Iterable[bytes | None]], Awaitable[None]] | None = None
    is_bounded: bool = False
    told: Callable[[bytes | None], Iterable[Told]] | None = None
    run: Callable[[bytes | None], RunReport | None] | None = None

    def runs(self, feed: str, deliveries: Iterable[Delivery] = ()) -> list[RunReports]:
        """The events of runs in some deliveries of a feed; none of a format without runs."""
        if self.run is None:
            return []
        found = ((each, self.run(each.value)) for each in deliveries)
        reports = [
            replace(report, stream=each.stream, position=each.position)
            for each, report in found
            if report is not None
        ]
        return [RunReports(feed=feed, reports=reports, read=self.read)]

    async def prepare(self, values: Iterable[bytes | None]) -> None:
        """Learn what is needed to read some values. Raises ServiceUnavailable."""
        if self.learn is not None:
            await self.learn(values)

    def read(self, delivery: Delivery) -> list[Received] | Rejection:
        """All the events of the delivery, or the reason why there are none."""
        try:
            return singly(delivery, self.events(delivery.value, delivery.headers))
        except InvalidEvent as error:
            return rejection(delivery, redacted(str(error)))

    def read_again(self, letter: Delivery) -> list[Received] | Rejection:
        """Read a dead letter: of several events in one message, the one at its position."""
        whole = letter.position.partition("#")[0]
        outcome = self.read(replace(letter, position=whole))
        if isinstance(outcome, Rejection):
            return rejection(letter, outcome.error)
        its_own = [each for each in outcome if each.deliveries[0].position == letter.position]
        return its_own or outcome

    def events(self, value: bytes | None, headers: Mapping[str, str]) -> list[SourceEvent]:
        """All the events in a message. Raises InvalidEvent, and nothing else."""
        if value is not None and len(value) > self.max_bytes:
            raise InvalidEvent(
                f"{len(value)} bytes: a message may have {self.max_bytes}; name ranges of "
                "partitions rather than each, or send several messages"
            )
        try:
            events = self.format(value, headers, self.dataset)
            return events if self.is_bounded else checked(events)
        except InvalidEvent:
            raise
        except Exception as error:  # a plug-in's bug must not stop the stream
            raise InvalidEvent(f"the format failed: {type(error).__name__}: {error}") from error


def singly(delivery: Delivery, events: list[SourceEvent]) -> list[Received]:
    """Each event of a delivery by itself.

    The members of an array have positions of their own, `<position>#<index>`, so that each can be
    rejected and replayed alone.
    """
    if len(events) == 1:
        return [Received.one(events[0], delivery)]
    return [
        Received.one(event, replace(delivery, position=f"{delivery.position}#{index}"))
        for index, event in enumerate(events)
    ]
