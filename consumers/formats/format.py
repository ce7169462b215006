"""What a format is, and how one is found by its name."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Protocol

from consumers.formats.cloudevents import read_cloudevent
from consumers.formats.knockon import read_events
from engine.errors import UnknownName
from engine.model.event import SourceEvent

ENTRY_POINTS = "knockon.formats"


class Format(Protocol):
    """A pure function from one delivery to the events in it."""

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """All events of the delivery, or InvalidEvent.

        `headers` have lower-case names. `dataset`, when given, is what every event is about, and
        the delivery need not name it.
        """
        ...


_BUILT_IN: dict[str, Format] = {"knockon": read_events, "cloudevents": read_cloudevent}


def format_named(name: str) -> Format:
    """The built-in format of that name, or the plug-in's. Raises UnknownName."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    for entry_point in entry_points(group=ENTRY_POINTS, name=name):
        plug_in: Format = entry_point.load()
        return plug_in
    raise UnknownName(
        f"no format is called {name!r}: use {' or '.join(sorted(_BUILT_IN))}, "
        f"or install a package with an entry point of that name in {ENTRY_POINTS!r}"
    )
