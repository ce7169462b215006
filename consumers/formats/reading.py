"""From a delivery to what is ingested. Whatever comes, this never raises."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from consumers.formats.bounds import check_events
from consumers.formats.format import Format
from engine.errors import InvalidEvent
from engine.model.event import Received, Rejection, SourceEvent
from engine.model.told import Told

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_KEPT_BYTES = 16 * 1024 * 1024
_MAX_ERROR_CHARACTERS = 1000


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One message as its transport gave it: where it was and what it held."""

    stream: str
    position: str
    value: bytes | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reader:
    """How the deliveries of one stream are read: by `format`, all about `dataset` if it is set.

    ``learn`` is what the format needs to be told of values before it can read them; it does I/O.
    ``is_bounded``: the format keeps its events within the bounds by itself. ``told`` is the column
    lineage in a value, where the format knows any.
    """

    format: Format
    dataset: str | None = None
    max_bytes: int = MAX_MESSAGE_BYTES
    learn: Callable[[Iterable[bytes | None]], Awaitable[None]] | None = None
    is_bounded: bool = False
    told: Callable[[bytes | None], Iterable[Told]] | None = None

    async def prepare(self, values: Iterable[bytes | None]) -> None:
        """Learn what is needed to read some values. Raises ServiceUnavailable."""
        if self.learn is not None:
            await self.learn(values)

    def read(self, delivery: Delivery) -> list[Received] | Rejection:
        """All the events of the delivery, or the reason why there are none.

        The members of an array have positions of their own, `<position>#<index>`, so that each
        can be rejected and replayed alone.
        """
        try:
            events = self._events(delivery)
        except InvalidEvent as error:
            return rejection(delivery, str(error))
        except Exception as error:  # a plug-in's bug must not stop the stream
            return rejection(delivery, f"the format failed: {type(error).__name__}: {error}")
        if len(events) == 1:
            return [_received(delivery, events[0], delivery.position)]
        return [
            _received(delivery, event, f"{delivery.position}#{index}")
            for index, event in enumerate(events)
        ]

    def read_again(self, letter: Delivery) -> list[Received] | Rejection:
        """Read a dead letter: of several events in one message, the one at its position."""
        whole = letter.position.partition("#")[0]
        outcome = self.read(msgspec.structs.replace(letter, position=whole))
        if isinstance(outcome, Rejection):
            return rejection(letter, outcome.error)
        return [each for each in outcome if each.position == letter.position] or outcome

    def _events(self, delivery: Delivery) -> list[SourceEvent]:
        size = len(delivery.value or b"")
        if size > self.max_bytes:
            raise InvalidEvent(
                f"{size} bytes: a message may have {self.max_bytes}; name ranges of partitions "
                "rather than each, or send several messages"
            )
        events = self.format(delivery.value, delivery.headers, self.dataset)
        if not self.is_bounded:
            check_events(events)
        return events


def _received(delivery: Delivery, event: SourceEvent, position: str) -> Received:
    return Received(
        event=event,
        stream=delivery.stream,
        position=position,
        payload=delivery.value,
        headers=_headers(delivery),
    )


def rejection(delivery: Delivery, error: str) -> Rejection:
    """The dead letter of a delivery: whole, but for what is beyond 16 MiB, and fit to be stored."""
    value = delivery.value
    if value is not None and len(value) > MAX_KEPT_BYTES:
        error = f"{error} (the first {MAX_KEPT_BYTES} of {len(value)} bytes are kept here)"
        value = value[:MAX_KEPT_BYTES]
    return Rejection(
        stream=delivery.stream,
        position=delivery.position,
        payload=value,
        error=_storable(error)[:_MAX_ERROR_CHARACTERS],
        headers=_headers(delivery),
    )


def _headers(delivery: Delivery) -> dict[str, str]:
    if not delivery.headers:
        return {}
    return {_storable(name): _storable(text) for name, text in delivery.headers.items()}


def _storable(text: str) -> str:
    """Text as PostgreSQL can hold it: without NUL and without halves of characters."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode(errors="replace").decode()
