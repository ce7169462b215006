"""Format of OpenLineage run events: runs of other systems write datasets."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from consumers.formats.binding import Binding, Cells, RowPartition
from consumers.formats.bounds import checked
from consumers.formats.confluent import Schemas
from consumers.formats.openlineage.columns import reported_lineage
from consumers.formats.openlineage.message import Message, Output, read
from consumers.formats.openlineage.rules import Rule
from consumers.formats.openlineage.subset import Row, rows_of
from engine.errors import InvalidEvent
from engine.model.discovery import DiscoveredDataset
from engine.model.event import MAX_LISTED, MAX_TEXT, SourceEvent
from engine.model.openlineage import PRODUCER
from engine.model.reported_lineage import DatasetNaming, Name, ReportedLineage
from engine.model.run_report import RunOutput, RunReport
from engine.model.states import Reason

_NO_SUBSET = "the output has no facet `subset` with the written partitions"
_TOO_MANY = f"more than {MAX_LISTED} partitions are listed"
_FAILED = "the run failed, was aborted or did not report its end; it may have written data"
_WHOLE: Mapping[str, Reason] = {
    "ALTER": Reason.SCHEMA_CHANGE,
    "DROP": Reason.CHANGE,
    "OVERWRITE": Reason.CHANGE,
    "RENAME": Reason.CHANGE,
    "TRUNCATE": Reason.CHANGE,
}
"""The lifecycle state changes that affect the entire dataset."""


class _Bound(NamedTuple):
    """A binding, and the function that reads the partition of its rows."""

    binding: Binding
    read_partition: Callable[[Cells], RowPartition]

    def partition(self, row: Row) -> RowPartition:
        return self.read_partition(self.binding.cells(row))

    @property
    def naming(self) -> DatasetNaming:
        source = self.binding.source
        name = source.name or "{dataset}"
        only = None if "{dataset}" in name else self.binding.dataset
        return DatasetNaming(source.namespace, name, only)

    def whole_change(
        self, reason: Reason = Reason.CHANGE, uncertainty: str | None = None
    ) -> SourceEvent:
        """An event for all rows."""
        return self.binding.event(
            self.partition({})._replace(uncertainty=uncertainty), reason=reason
        )


class OpenLineage:
    """The format of a topic of run events, bound to all datasets that the topic reports on.

    A binding applies to outputs with the binding's namespace and name, compared with the name of
    the output and with its symlinks.
    """

    def __init__(self, bindings: Sequence[Binding], schemas: Schemas | None = None) -> None:
        self._by_name: Mapping[str, list[_Bound]] = defaultdict(list)
        for binding in bindings:
            self._bind(binding)
        self._rules = _rules(bindings)
        self._refused: set[DiscoveredDataset] = set()
        self._naming = tuple({bound.naming for group in self._by_name.values() for bound in group})
        self._strict = {
            binding.source.namespace for binding in bindings if binding.source.unknown != "ignore"
        }

    def __call__(
        self, value: bytes | None, headers: Mapping[str, str], dataset: str | None
    ) -> list[SourceEvent]:
        """See `Format`. Outputs count once they are written, unless Knockon itself wrote them."""
        message = read(value)
        if not message.has_written or message.producer == PRODUCER:
            return []
        failed = message.is_end and message.type != "COMPLETE"
        try:
            events = [
                event for output in message.outputs or () for event in self._events(output, failed)
            ]
        except RecursionError as error:
            raise InvalidEvent("the condition of a subset is nested too deeply") from error
        return checked([_with_origin(event, message) for event in dict.fromkeys(events)])

    @property
    def discovers(self) -> bool:
        """Return whether discovery rules may bind further datasets."""
        return bool(self._rules)

    def discover(self, values: Iterable[bytes | None]) -> dict[DiscoveredDataset, Rule]:
        """The unbound datasets in messages that a rule covers."""
        outputs = (output for value in values for output in _written(value))
        unbound = (output for output in outputs if not any(map(self._bound, output.names)))
        return dict(filter(None, map(self._matched, unbound)))

    def bind(
        self,
        discovered: Mapping[DiscoveredDataset, Rule],
        registered: Iterable[DiscoveredDataset],
    ) -> None:
        """Bind the registered datasets; the others are not discovered again."""
        self._refused |= discovered.keys()
        for dataset in registered:
            self._bind(discovered[dataset].binding_of(dataset))

    def _matched(self, output: Output) -> tuple[DiscoveredDataset, Rule] | None:
        for rule in self._rules:
            for name in output.names:
                dataset = rule.match(Name(name.namespace, name.name))
                if dataset is not None and dataset not in self._refused:
                    return dataset, rule
        return None

    def _bind(self, binding: Binding) -> None:
        bound = _Bound(binding, binding.partition_reader({}))
        self._by_name[bound.naming.external_name(binding.dataset) or ""].append(bound)

    def run(self, value: bytes | None) -> RunReport | None:
        """The run event in a message with all outputs it names; None if there is none to keep."""
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

    def reported_lineage(self, value: bytes | None) -> list[ReportedLineage]:
        """The column lineage that a message reports for the run's outputs."""
        return reported_lineage(value or b"", self._naming)

    def _events(self, output: Output, failed: bool) -> Iterator[SourceEvent]:
        bound = [binding for name in output.names for binding in self._bound(name)]
        for binding in bound:
            yield _event(binding, output, _FAILED if failed else None)
        if not bound and self._rejects(output):
            # The slash is in no dataset's name, so only this output becomes a dead letter.
            yield SourceEvent(dataset=f"{output.namespace}/{output.name}"[:MAX_TEXT])
        if (previous := output.lifecycle.previous) is not None:
            for binding in self._bound(previous):
                yield binding.whole_change()

    def _bound(self, name: Name) -> list[_Bound]:
        return [
            bound
            for bound in self._by_name.get(name.name, ())
            if bound.binding.source.namespace in (None, name.namespace)
        ]

    def _rejects(self, output: Output) -> bool:
        return not self._strict.isdisjoint({None, *(name.namespace for name in output.names)})


def _rules(bindings: Iterable[Binding]) -> list[Rule]:
    """The discovery rules, one for each source regardless of its number of bindings."""
    rules: dict[str, Rule] = {}
    for binding in bindings:
        if binding.source.discover is not None:
            source = binding.source.model_copy(update={"dataset": None})
            rules.setdefault(repr(source), Rule(binding.source.discover, binding))
    return list(rules.values())


def _written(value: bytes | None) -> list[Output]:
    """The outputs of a run; empty for unreadable messages, which become dead letters later."""
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


def _with_origin(event: SourceEvent, message: Message) -> SourceEvent:
    """The event with the ids of its run and job, for explanations."""
    run, job = message.run, message.job
    return msgspec.structs.replace(
        event,
        id=(run.id[:MAX_TEXT] or None) if run else None,
        source=f"{job.namespace}/{job.name}" if job else None,
    )


def _event(bound: _Bound, output: Output, uncertainty: str | None) -> SourceEvent:
    """The event of an output; ``uncertainty`` is the reason why it may not have been written."""
    if reason := _WHOLE.get(output.lifecycle.change):
        return bound.whole_change(reason, uncertainty)
    reason = Reason.ARRIVAL if output.lifecycle.change == "CREATE" else Reason.CHANGE
    if output.condition is None:
        all_partitions = bound.partition({})
        return bound.binding.event(
            all_partitions,
            reason=reason,
            uncertainty=uncertainty or (all_partitions.uncertainty and _NO_SUBSET),
        )
    rows = rows_of(output.condition, frozenset(bound.binding.partition_fields))
    partitions = dict.fromkeys(map(bound.partition, rows))
    if len(partitions) > MAX_LISTED:
        return bound.binding.event(
            bound.partition({}), reason=reason, uncertainty=uncertainty or _TOO_MANY
        )
    return bound.binding.event(*partitions, reason=reason, uncertainty=uncertainty)
