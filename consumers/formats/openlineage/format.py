"""Run events of OpenLineage: a run of somebody else's has written datasets."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from consumers.formats.binding import Binding, Place, Row
from consumers.formats.bounds import checked
from consumers.formats.confluent import Schemas
from consumers.formats.openlineage.columns import told
from consumers.formats.openlineage.message import Message, Output, read
from consumers.formats.openlineage.subset import rows_of
from engine.errors import InvalidEvent
from engine.model.event import MAX_LISTED, MAX_TEXT, Reason, SourceEvent
from engine.model.openlineage import PRODUCER
from engine.model.told import Name, Naming, Told

_NO_SUBSET = "the output has no facet `subset` that says which partitions were written"
_TOO_MANY = f"more than {MAX_LISTED} partitions are listed"
_WHOLE: Mapping[str, Reason] = {
    "ALTER": "schema_change",
    "DROP": "change",
    "OVERWRITE": "change",
    "RENAME": "change",
    "TRUNCATE": "change",
}
"""The changes of a dataset's life that are about all of it."""


class _Bound(NamedTuple):
    binding: Binding
    place: Callable[[Row], Place]

    @property
    def naming(self) -> Naming:
        source = self.binding.source
        name = source.name or "{dataset}"
        only = None if "{dataset}" in name else self.binding.dataset
        return Naming(source.namespace, name, only)

    def everything(self, reason: Reason = "change") -> SourceEvent:
        return self.binding.event(self.place({})._replace(unsure=None), reason=reason)


class OpenLineage:
    """The format of a topic of run events, with the bindings of all datasets that it tells of.

    A binding's dataset is an output of the binding's namespace and name, by its own name or by one
    of its symlinks.
    """

    def __init__(self, bindings: Sequence[Binding], schemas: Schemas | None = None) -> None:
        self._called: Mapping[str, list[_Bound]] = defaultdict(list)
        for each in bindings:
            bound = _Bound(each, each.placer({}))
            self._called[bound.naming.calls(each.dataset) or ""].append(bound)
        self._naming = tuple({bound.naming for found in self._called.values() for bound in found})
        self._strict = {
            each.source.namespace for each in bindings if each.source.unknown != "ignore"
        }

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`. Only a run that has completed, and is not Knockon's own, says anything."""
        message = read(value)
        if message.type != "COMPLETE" or message.producer == PRODUCER:
            return []
        try:
            found = [event for each in message.outputs or () for event in self._events(each)]
        except RecursionError as error:
            raise InvalidEvent("the condition of a subset is nested too deep") from error
        return checked([_signed(event, message) for event in dict.fromkeys(found)])

    def told(self, value: bytes | None) -> list[Told]:
        """The column lineage that the run has told of its outputs, where it is whole."""
        return told(value or b"", self._naming)

    def _events(self, output: Output) -> Iterator[SourceEvent]:
        bound = [each for name in output.names for each in self._named(name)]
        for each in bound:
            yield _event(each, output)
        if not bound and self._rejects(output):
            # No dataset of ours can be called so: this one becomes a dead letter, by itself.
            yield SourceEvent(dataset=f"{output.namespace}/{output.name}"[:MAX_TEXT])
        if (previous := output.lifecycle.previous) is not None:
            for each in self._named(previous):
                yield each.everything()

    def _named(self, name: Name) -> Iterator[_Bound]:
        for each in self._called.get(name.name, ()):
            if each.binding.source.namespace in (None, name.namespace):
                yield each

    def _rejects(self, output: Output) -> bool:
        return not self._strict.isdisjoint({None, *(name.namespace for name in output.names)})


def _signed(event: SourceEvent, message: Message) -> SourceEvent:
    """The event with what people look for: which run it was, and whose."""
    run, job = message.run, message.job
    return msgspec.structs.replace(
        event,
        id=(run.id[:MAX_TEXT] or None) if run else None,
        source=f"{job.namespace}/{job.name}" if job else None,
    )


def _event(bound: _Bound, output: Output) -> SourceEvent:
    if reason := _WHOLE.get(output.lifecycle.change):
        return bound.everything(reason)
    reason = "arrival" if output.lifecycle.change == "CREATE" else "change"
    if output.condition is None:
        there = bound.place({})
        return bound.binding.event(there, reason=reason, unsure=there.unsure and _NO_SUBSET)
    rows = rows_of(output.condition, frozenset(bound.binding.partition_fields))
    places = dict.fromkeys(map(bound.place, rows))
    if len(places) > MAX_LISTED:
        return bound.binding.event(bound.place({}), reason=reason, unsure=_TOO_MANY)
    return bound.binding.event(*places, reason=reason)
