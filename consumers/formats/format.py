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
    """A pure function from one message to the events in it."""

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """Read all events of a message; empty if nothing changed. Raises InvalidEvent.

        `headers` have lower-case names. `dataset`, if given, is the dataset of every event, so that
        the message may omit it.
        """
        ...


_UNBOUND: Mapping[str, Format] = MappingProxyType(
    {"knockon": read_events, "cloudevents": read_cloudevent}
)
"""Formats that need no binding, because their messages use names of Knockon."""

_SINGLE_DATASET: Mapping[str, Callable[[Binding, Schemas | None], Format]] = MappingProxyType(
    {"debezium": Debezium, "record": Record, "s3": ObjectStore}
)
"""Bound formats with messages about a single dataset."""

MULTI_DATASET: Mapping[str, Callable[[Sequence[Binding], Schemas | None], Format]] = (
    MappingProxyType({"openlineage": OpenLineage})
)
"""Bound formats with messages that name their dataset; see also `engine.lineage.check_messages`."""


def _for_each_binding(
    make: Callable[[Binding, Schemas | None], Format],
) -> Callable[[Sequence[Binding], Schemas | None], Format]:
    """Apply a format for a single dataset to each of several bindings."""
    return lambda bindings, schemas: every([make(binding, schemas) for binding in bindings])


BOUND_FORMATS: Mapping[str, Callable[[Sequence[Binding], Schemas | None], Format]] = (
    MappingProxyType(
        {
            **{name: _for_each_binding(make) for name, make in _SINGLE_DATASET.items()},
            **MULTI_DATASET,
        }
    )
)
"""Formats of other systems, with messages bound to datasets by the DAG file.

Each is constructed for all bindings of a topic.
"""

BUILT_IN_FORMATS = (*_UNBOUND, *BOUND_FORMATS)

DEFAULT_CLOCKS: Mapping[str, Clock] = MappingProxyType({"debezium": "numbers"})
"""Default `Clock` by format, for fields without a clock in the DAG file or a schema.

The default of other formats is ``utc``.
"""

CHECKS_BOUNDS = frozenset({"knockon", *BOUND_FORMATS})
"""Formats that check the bounds of their events themselves; readers do not check the events again.

Bound formats create their events with `Binding.event`, which checks the bounds, or call `checked`.
"""


def format_named(name: str) -> Format:
    """The unbound format with a name, built in or a plug-in. Raises UnknownName."""
    if name in _UNBOUND:
        return _UNBOUND[name]
    for entry_point in entry_points(group=ENTRY_POINTS, name=name):
        plug_in: Format = entry_point.load()
        return plug_in
    raise UnknownName(
        f"no format is called {name!r}: use {', '.join(sorted(BUILT_IN_FORMATS))}, "
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
