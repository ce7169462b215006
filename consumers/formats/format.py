"""The interface of formats, and their lookup by name."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Protocol

from consumers.formats.binding import Binding
from consumers.formats.cloudevents import read_cloudevent
from consumers.formats.confluent import Schemas
from consumers.formats.debezium import Debezium
from consumers.formats.knockon import read_events
from consumers.formats.moments import Clock
from consumers.formats.openlineage import OpenLineage
from consumers.formats.record import Record
from consumers.formats.s3 import ObjectStore
from engine.errors import UnknownName
from engine.model.event import SourceEvent

ENTRY_POINTS = "knockon.formats"


class Format(Protocol):
    """A pure function from one delivery to the events in it."""

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """Read all events of a delivery; empty if nothing changed. Raises InvalidEvent.

        `headers` have lower-case names. `dataset`, if given, is the dataset of every event, so that
        the delivery may omit it.
        """
        ...


_BUILT_IN: dict[str, Format] = {"knockon": read_events, "cloudevents": read_cloudevent}


def _of_one(
    make: Callable[[Binding, Schemas | None], Format],
) -> Callable[[Sequence[Binding], Schemas | None], Format]:
    """A format whose messages concern one dataset, applied to each of several bindings."""
    return lambda bindings, schemas: every([make(binding, schemas) for binding in bindings])


BOUND: Mapping[str, Callable[[Sequence[Binding], Schemas | None], Format]] = MappingProxyType(
    {
        "debezium": _of_one(Debezium),
        "record": _of_one(Record),
        "s3": _of_one(ObjectStore),
        "openlineage": OpenLineage,
    }
)
"""Formats of other systems, whose messages the DAG file binds to datasets.

Each is constructed for all bindings of a topic.
"""


CLOCKS: Mapping[str, Clock] = MappingProxyType({"debezium": "numbers"})
"""By format, which times without a zone are local; of other formats, none are."""

CHECKS_BOUNDS = frozenset({"knockon", *BOUND})
"""Formats that check the bounds of their events themselves."""


def format_named(name: str) -> Format:
    """The built-in or plug-in format with a name. Raises UnknownName."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    for entry_point in entry_points(group=ENTRY_POINTS, name=name):
        plug_in: Format = entry_point.load()
        return plug_in
    raise UnknownName(
        f"no format is called {name!r}: use {', '.join(sorted((*_BUILT_IN, *BOUND)))}, "
        f"or install a package with an entry point of that name in {ENTRY_POINTS!r}"
    )


def every(formats: list[Format]) -> Format:
    """Combine the formats of a topic with several datasets into one that yields all events."""
    if len(formats) == 1:
        return formats[0]

    def read(
        value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        return [event for format_ in formats for event in format_(value, headers, dataset)]

    return read
