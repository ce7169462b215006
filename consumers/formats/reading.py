"""Reading deliveries: from the bytes of a message to events, or to a rejection."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from consumers.formats.bounds import check_count, checked
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
from engine.model.reported_lineage import ReportedLineage
from engine.model.run_report import RunReport
from engine.secrets import redacted

MAX_MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reader:
    """The reader of one stream: applies ``format``, for ``dataset`` if the stream has only one.

    ``preload`` loads data that the format needs for some messages, such as schemas; it does I/O.
    ``is_bounded``: the format checks the bounds of its events. ``reported_lineage`` extracts column
    lineage from a message and ``run`` the event of a run, for formats that carry them.
    """

    format: Format
    dataset: str | None = None
    max_bytes: int = MAX_MESSAGE_BYTES
    preload: Callable[[Iterable[bytes | None]], Awaitable[None]] | None = None
    is_bounded: bool = False
    reported_lineage: Callable[[bytes | None], Iterable[ReportedLineage]] | None = None
    run: Callable[[bytes | None], RunReport | None] | None = None

    def runs(self, feed: str, deliveries: Iterable[Delivery] = ()) -> list[RunReports]:
        """The events of runs in deliveries of a feed; empty if the format has no runs."""
        if self.run is None:
            return []
        reports = [
            replace(report, stream=delivery.stream, position=delivery.position)
            for delivery in deliveries
            if (report := self.run(delivery.value)) is not None
        ]
        return [RunReports(feed=feed, reports=reports, read=self.read)]

    async def prepare(self, values: Iterable[bytes | None]) -> None:
        """Load whatever is required to read some messages. Raises ServiceUnavailable."""
        if self.preload is not None:
            await self.preload(values)

    def read(self, delivery: Delivery) -> list[Received] | Rejection:
        """Read all events of a delivery, or reject it."""
        try:
            return received_singly(delivery, self.events(delivery.value, delivery.headers))
        except InvalidEvent as error:
            return rejection(delivery, redacted(str(error)))

    def read_again(self, letter: Delivery) -> list[Received] | Rejection:
        """Read a dead letter; if its message has several events, only the one at its position."""
        message_position = letter.position.partition("#")[0]
        outcome = self.read(replace(letter, position=message_position))
        if isinstance(outcome, Rejection):
            return rejection(letter, outcome.error)
        at_position = [
            received for received in outcome if received.deliveries[0].position == letter.position
        ]
        return at_position or outcome

    def events(self, value: bytes | None, headers: Mapping[str, str]) -> list[SourceEvent]:
        """Read all events of a message. Raises InvalidEvent and no other error."""
        if value is not None and len(value) > self.max_bytes:
            raise InvalidEvent(
                f"the message has {len(value)} bytes, the limit is {self.max_bytes}: use ranges "
                "of partitions instead of single keys, or send several messages"
            )
        try:
            events = self.format(value, headers, self.dataset)
            if not self.is_bounded:
                return checked(events)
            if len(events) != 1:  # most messages have one, and the call is 4 % of reading them
                check_count(events)
            return events
        except InvalidEvent:
            raise
        except Exception as error:  # a bug in a plug-in must not stop the stream
            raise InvalidEvent(f"the format failed: {type(error).__name__}: {error}") from error


def received_singly(delivery: Delivery, events: list[SourceEvent]) -> list[Received]:
    """Wrap each event of a delivery separately.

    If there are several, each gets a position of its own, ``<position>#<index>``, so that it can be
    rejected and replayed separately.
    """
    if len(events) == 1:
        return [Received.one(events[0], delivery)]
    return [
        Received.one(event, replace(delivery, position=f"{delivery.position}#{index}"))
        for index, event in enumerate(events)
    ]
