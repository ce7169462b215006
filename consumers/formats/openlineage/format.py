"""Run events of OpenLineage: a run of somebody else's has written datasets."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from consumers.formats.binding import Binding, Cells, Place
from consumers.formats.bounds import checked
from consumers.formats.confluent import Schemas
from consumers.formats.openlineage.columns import told
from consumers.formats.openlineage.message import Message, Output, read
from consumers.formats.openlineage.rules import Rule
from consumers.formats.openlineage.subset import Row, rows_of
from engine.errors import InvalidEvent
from engine.model.event import MAX_LISTED, MAX_TEXT, Reason, SourceEvent
from engine.model.heard import Heard
from engine.model.openlineage import PRODUCER
from engine.model.run_report import RunOutput, RunReport
from engine.model.told import Name, Naming, Told

_NO_SUBSET = "the output has no facet `subset` that says which partitions were written"
_TOO_MANY = f"more than {MAX_LISTED} partitions are listed"
_FAILED = "the run failed, was aborted or never reported its end; it may have written all the same"
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
    placed: Callable[[Cells], Place]

    def place(self, row: Row) -> Place:
        return self.placed(self.binding.cells(row))

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
            self._bind(each)
        self._rules = _rules(bindings)
        self._refused: set[Heard] = set()
        self._naming = tuple({bound.naming for found in self._called.values() for bound in found})
        self._strict = {
            each.source.namespace for each in bindings if each.source.unknown != "ignore"
        }

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`. Outputs count once they are written, unless the run is Knockon's own."""
        message = read(value)
        if not message.has_written or message.producer == PRODUCER:
            return []
        failed = message.is_end and message.type != "COMPLETE"
        try:
            found = [
                event for each in message.outputs or () for event in self._events(each, failed)
            ]
        except RecursionError as error:
            raise InvalidEvent("the condition of a subset is nested too deep") from error
        return checked([_signed(event, message) for event in dict.fromkeys(found)])

    @property
    def discovers(self) -> bool:
        """Whether datasets can be bound while it is read."""
        return bool(self._rules)

    def unheard(self, values: Iterable[bytes | None]) -> dict[Heard, Rule]:
        """The datasets that a rule covers and nobody has bound yet."""
        outputs = (output for value in values for output in _written(value))
        unbound = (each for each in outputs if not any(map(self._named, each.names)))
        return dict(filter(None, map(self._covered, unbound)))

    def bind(self, heard: Mapping[Heard, Rule], registered: Iterable[Heard]) -> None:
        """Have those that are registered count from here on; the others are not heard again."""
        self._refused |= heard.keys()
        for each in registered:
            self._bind(heard[each].bound(each))

    def _covered(self, output: Output) -> tuple[Heard, Rule] | None:
        for rule in self._rules:
            for name in output.names:
                heard = rule.heard(Name(name.namespace, name.name))
                if heard is not None and heard not in self._refused:
                    return heard, rule
        return None

    def _bind(self, binding: Binding) -> None:
        bound = _Bound(binding, binding.placer({}))
        self._called[bound.naming.calls(binding.dataset) or ""].append(bound)

    def run(self, value: bytes | None) -> RunReport | None:
        """The event of a run, with all the outputs that it names; None where it is of none."""
        try:
            message = read(value)
        except InvalidEvent:
            return None
        if message.run is None or message.type is None or message.producer == PRODUCER:
            return None
        if not (message.is_end or message.outputs):
            return None
        return RunReport(
            run=message.run.id[:MAX_TEXT],
            kind=message.type,
            is_end=message.is_end,
            outputs=tuple(map(_announced, message.outputs or ())),
            job=(message.job.namespace, message.job.name) if message.job else None,
        )

    def told(self, value: bytes | None) -> list[Told]:
        """The column lineage that the run has told of its outputs, where it is whole."""
        return told(value or b"", self._naming)

    def _events(self, output: Output, failed: bool) -> Iterator[SourceEvent]:
        bound = [each for name in output.names for each in self._named(name)]
        for each in bound:
            yield _event(each, output, _FAILED if failed else None)
        if not bound and self._rejects(output):
            # No dataset of ours can be called so: this one becomes a dead letter, by itself.
            yield SourceEvent(dataset=f"{output.namespace}/{output.name}"[:MAX_TEXT])
        if (previous := output.lifecycle.previous) is not None:
            for each in self._named(previous):
                yield each.everything()

    def _named(self, name: Name) -> list[_Bound]:
        return [
            each
            for each in self._called.get(name.name, ())
            if each.binding.source.namespace in (None, name.namespace)
        ]

    def _rejects(self, output: Output) -> bool:
        return not self._strict.isdisjoint({None, *(name.namespace for name in output.names)})


def _rules(bindings: Iterable[Binding]) -> list[Rule]:
    """One for each source, whatever it binds besides."""
    found: dict[str, Rule] = {}
    for each in bindings:
        if each.source.discover is not None:
            source = each.source.model_copy(update={"dataset": None})
            found.setdefault(repr(source), Rule(each.source.discover, each))
    return list(found.values())


def _written(value: bytes | None) -> list[Output]:
    """The outputs of a run; none where the message cannot be read, which is reported elsewhere."""
    try:
        message = read(value)
    except InvalidEvent:
        return []
    return [] if message.producer == PRODUCER else message.outputs or []


def _announced(output: Output) -> RunOutput:
    return RunOutput(
        namespace=output.namespace,
        name=output.name,
        text=msgspec.json.encode(output).decode(),
        is_whole=output.lifecycle.change in _WHOLE,
    )


def _signed(event: SourceEvent, message: Message) -> SourceEvent:
    """The event with what people look for: which run it was, and whose."""
    run, job = message.run, message.job
    return msgspec.structs.replace(
        event,
        id=(run.id[:MAX_TEXT] or None) if run else None,
        source=f"{job.namespace}/{job.name}" if job else None,
    )


def _event(bound: _Bound, output: Output, unsure: str | None) -> SourceEvent:
    """The event of an output; ``unsure`` gives the reason why it may not have been written."""
    if reason := _WHOLE.get(output.lifecycle.change):
        return bound.binding.event(bound.place({})._replace(unsure=unsure), reason=reason)
    reason = "arrival" if output.lifecycle.change == "CREATE" else "change"
    if output.condition is None:
        there = bound.place({})
        return bound.binding.event(
            there, reason=reason, unsure=unsure or (there.unsure and _NO_SUBSET)
        )
    rows = rows_of(output.condition, frozenset(bound.binding.partition_fields))
    places = dict.fromkeys(map(bound.place, rows))
    if len(places) > MAX_LISTED:
        return bound.binding.event(bound.place({}), reason=reason, unsure=unsure or _TOO_MANY)
    return bound.binding.event(*places, reason=reason, unsure=unsure)
