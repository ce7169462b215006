"""What a format is, and how one is found by its name."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Protocol

from consumers.formats.binding import Binding
from consumers.formats.cloudevents import read_cloudevent
from consumers.formats.confluent import Schemas
from consumers.formats.debezium import Debezium
from consumers.formats.knockon import read_events
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
        """All events of the delivery, none where nothing changed, or InvalidEvent.

        `headers` have lower-case names. `dataset`, when given, is what every event is about, and
        the delivery need not name it.
        """
        ...


_BUILT_IN: dict[str, Format] = {"knockon": read_events, "cloudevents": read_cloudevent}


def _of_one(
    make: Callable[[Binding, Schemas | None], Format],
) -> Callable[[Sequence[Binding], Schemas | None], Format]:
    """A format whose messages are about one dataset, read for each of several."""
    return lambda bindings, schemas: every([make(each, schemas) for each in bindings])


BOUND: Mapping[str, Callable[[Sequence[Binding], Schemas | None], Format]] = MappingProxyType(
    {
        "debezium": _of_one(Debezium),
        "record": _of_one(Record),
        "s3": _of_one(ObjectStore),
        "openlineage": OpenLineage,
    }
)
"""The formats of what knows nothing of Knockon, so that the DAG file has to bind it.

Each is made for all bindings of a topic.
"""


BOUNDED = frozenset({"knockon", *BOUND})
"""The formats that keep their events within the bounds by themselves."""


def format_named(name: str) -> Format:
    """The built-in format of that name, or the plug-in's. Raises UnknownName."""
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
    """What all of some formats find in a delivery: one topic may tell of several datasets."""
    if len(formats) == 1:
        return formats[0]

    def read(
        value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        return [event for each in formats for event in each(value, headers, dataset)]

    return read
