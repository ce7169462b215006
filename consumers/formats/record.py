"""Plain records: each is a row that has come, in the partition that its fields tell."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from consumers.formats.binding import Binding
from engine.errors import InvalidEvent
from engine.model.event import SourceEvent

_decoder = msgspec.json.Decoder(dict[str, Raw])


class Record:
    """The format of a topic of rows as JSON objects; `Binding` says what they are."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._place = binding.placer({})

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`."""
        if value is None:
            raise InvalidEvent(
                "null value: a tombstone does not tell in which partition its record lay; "
                "invalidate by hand what may be gone, or read change events (format: debezium)"
            )
        try:
            row: dict[str, Any] = _decoder.decode(value)
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"not a record: {error}; send one JSON object a message") from error
        return [self._binding.event([self._place(row)], reason="arrival")]
