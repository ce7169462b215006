"""Run events of OpenLineage: a run of somebody else's has written datasets.

Source: OpenLineage 2-0-2, with the facets `subset` (1-0-0) of outputs, `lifecycleStateChange` and
`symlinks` (1-0-1) of datasets, as the official Python client 1.54 has them. Other facets say
nothing of what was written.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

import msgspec

from consumers.formats.binding import Binding, Place, Row
from consumers.formats.bounds import check_events
from consumers.formats.confluent import Schemas
from engine.errors import InvalidEvent
from engine.model.event import MAX_LISTED, MAX_TEXT, Reason, SourceEvent
from engine.model.openlineage import PRODUCER

_NO_SUBSET = "the output has no facet `subset` that says which partitions were written"
_TOO_MANY = f"more than {MAX_LISTED} partitions are listed"
_MOST_PAIRS = 1_000
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_WHOLE: Mapping[str, Reason] = {
    "ALTER": "schema_change",
    "DROP": "change",
    "OVERWRITE": "change",
    "RENAME": "change",
    "TRUNCATE": "change",
}
"""The changes of a dataset's life that are about all of it."""


class _Name(msgspec.Struct, frozen=True):
    namespace: str
    name: str


class _Lifecycle(
    msgspec.Struct,
    frozen=True,
    rename={"change": "lifecycleStateChange", "previous": "previousIdentifier"},
):
    change: str = ""
    previous: _Name | None = None


class _Symlinks(msgspec.Struct, frozen=True):
    identifiers: list[_Name] = []


class _Facets(msgspec.Struct, frozen=True, rename={"lifecycle": "lifecycleStateChange"}):
    lifecycle: _Lifecycle | None = None
    symlinks: _Symlinks | None = None


class _Subset(msgspec.Struct, frozen=True, rename={"condition": "outputCondition"}):
    condition: Any = None


class _OutputFacets(msgspec.Struct, frozen=True):
    subset: _Subset | None = None


class _Output(_Name, frozen=True, rename={"output_facets": "outputFacets"}):
    facets: _Facets | None = None
    output_facets: _OutputFacets | None = None

    @property
    def names(self) -> list[_Name]:
        """All that the dataset is called."""
        symlinks = self.facets and self.facets.symlinks
        return [self, *(symlinks.identifiers if symlinks else ())]

    @property
    def lifecycle(self) -> _Lifecycle:
        return (self.facets and self.facets.lifecycle) or _Lifecycle()

    @property
    def condition(self) -> Any:
        """The part of the dataset that was written; None where nothing is said."""
        subset = self.output_facets and self.output_facets.subset
        return subset.condition if subset else None


class _Run(msgspec.Struct, frozen=True, rename={"id": "runId"}):
    id: str


class _Message(msgspec.Struct, frozen=True, rename={"type": "eventType"}):
    producer: str = ""
    type: Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"] | None = None
    run: _Run | None = None
    job: _Name | None = None
    dataset: _Name | None = None
    outputs: list[_Output] | None = None


class _Bound(NamedTuple):
    binding: Binding
    place: Callable[[Row], Place]

    def everything(self, reason: Reason = "change") -> SourceEvent:
        return self.binding.event(self.place({})._replace(unsure=None), reason=reason)


_decoder = msgspec.json.Decoder(_Message)


class OpenLineage:
    """The format of a topic of run events, with the bindings of all datasets that it tells of.

    A binding's dataset is an output of the binding's namespace and name, by its own name or by one
    of its symlinks.
    """

    def __init__(self, bindings: Sequence[Binding], schemas: Schemas | None = None) -> None:
        self._called: Mapping[str, list[_Bound]] = defaultdict(list)
        for each in bindings:
            self._called[_called(each)].append(_Bound(each, each.placer({})))
        self._strict = {
            each.source.namespace for each in bindings if each.source.unknown != "ignore"
        }

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`. Only a run that has completed, and is not Knockon's own, says anything."""
        message = _read(value)
        if message.type != "COMPLETE" or message.producer == PRODUCER:
            return []
        try:
            found = [event for each in message.outputs or () for event in self._events(each)]
        except RecursionError as error:
            raise InvalidEvent("the condition of a subset is nested too deep") from error
        events = [_signed(event, message) for event in dict.fromkeys(found)]
        check_events(events)
        return events

    def _events(self, output: _Output) -> Iterator[SourceEvent]:
        bound = [each for name in output.names for each in self._named(name)]
        for each in bound:
            yield _event(each, output)
        if not bound and self._rejects(output):
            # No dataset of ours can be called so: this one becomes a dead letter, by itself.
            yield SourceEvent(dataset=f"{output.namespace}/{output.name}"[:MAX_TEXT])
        if (previous := output.lifecycle.previous) is not None:
            for each in self._named(previous):
                yield each.everything()

    def _named(self, name: _Name) -> Iterator[_Bound]:
        for each in self._called.get(name.name, ()):
            if each.binding.source.namespace in (None, name.namespace):
                yield each

    def _rejects(self, output: _Output) -> bool:
        return not self._strict.isdisjoint({None, *(name.namespace for name in output.names)})


def _called(binding: Binding) -> str:
    """What OpenLineage calls the dataset."""
    return (binding.source.name or "{dataset}").replace("{dataset}", binding.dataset)


def _read(value: bytes | None) -> _Message:
    if value is None:
        raise InvalidEvent("null value: send a run event of OpenLineage")
    try:
        message = _decoder.decode(value)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not an event of OpenLineage: {error}") from error
    if message.run is None and message.job is None and message.dataset is None:
        raise InvalidEvent("not an event of OpenLineage: it has neither run, job nor dataset")
    return message


def _signed(event: SourceEvent, message: _Message) -> SourceEvent:
    """The event with what people look for: which run it was, and whose."""
    run, job = message.run, message.job
    return msgspec.structs.replace(
        event,
        id=(run.id[:MAX_TEXT] or None) if run else None,
        source=f"{job.namespace}/{job.name}" if job else None,
    )


def _event(bound: _Bound, output: _Output) -> SourceEvent:
    if reason := _WHOLE.get(output.lifecycle.change):
        return bound.everything(reason)
    reason = "arrival" if output.lifecycle.change == "CREATE" else "change"
    if output.condition is None:
        there = bound.place({})
        return bound.binding.event(there, reason=reason, unsure=there.unsure and _NO_SUBSET)
    rows = _rows(output.condition, frozenset(bound.binding.partition_fields))
    places = dict.fromkeys(map(bound.place, rows))
    if len(places) > MAX_LISTED:
        return bound.binding.event(bound.place({}), reason=reason, unsure=_TOO_MANY)
    return bound.binding.event(*places, reason=reason)


def _rows(condition: Any, fields: frozenset[str]) -> list[Row]:
    """What a condition says of some fields: one of these; what is not there it leaves open.

    It may allow more than the condition does, and never less.
    """
    match condition:
        case {"type": "partition", "partitions": [_, *_] as partitions}:
            return [_of(fields, _dimensions(each)) for each in partitions]
        case {"type": "location", "locations": [_, *_] as locations}:
            return [_of(fields, _hive(each)) for each in locations]
        case {"type": "compare", "comparison": "EQUAL", "left": left, "right": right}:
            return [_of(fields, _equal(left, right) or _equal(right, left))]
        case {"type": "binary", "operator": "OR", "left": left, "right": right}:
            either = _rows(left, fields) + _rows(right, fields)
            return either if len(either) <= MAX_LISTED else [{}]
        case {"type": "binary", "operator": "AND", "left": left, "right": right}:
            return _both(_rows(left, fields), _rows(right, fields))
    return [{}]


def _of(fields: frozenset[str], row: Row) -> Row:
    return {name: value for name, value in row.items() if name in fields}


def _dimensions(partition: Any) -> Row:
    dimensions = partition.get("dimensions") if isinstance(partition, dict) else None
    return dimensions if isinstance(dimensions, dict) else {}


def _hive(location: Any) -> Row:
    """The fields that the directories of a location hold: `…/dt=2026-01-02/region=us/…`."""
    if not isinstance(location, str):
        return {}
    pairs = (part.partition("=") for part in location.split("/"))
    said = {unquote(name): unquote(value) for name, equals, value in pairs if equals}
    return {name: value for name, value in said.items() if value != _HIVE_NULL}


def _equal(left: Any, right: Any) -> Row:
    match left, right:
        case {"type": "field", "field": str(name)}, {"type": "literal", "value": value}:
            return {name: value}
    return {}


def _both(left: list[Row], right: list[Row]) -> list[Row]:
    """Where both name a field, either may be right; where there are too many, one side will do."""
    if len(left) * len(right) > _MOST_PAIRS:
        return min(left, right, key=len)
    return [{**a, **b} for a in left for b in right]
