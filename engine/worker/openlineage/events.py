"""From what happened to an attempt to the run event that OpenLineage has for it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from engine.errors import InvalidPartition
from engine.lineage.columns import EVERY, NO_COLUMN
from engine.model.dataset import Dataset
from engine.model.openlineage import PRODUCER
from engine.model.task import Lease, Output
from engine.partitions import DimensionValue
from engine.worker.openlineage import facets
from engine.worker.openlineage.facets import Facet, InputField
from engine.worker.openlineage.run_event import Kind, RunEvent
from engine.worker.reading import space_of

_MAX_ERROR_CHARACTERS = 10_000
_pairs = msgspec.json.Decoder(list[tuple[UUID, UUID, list[str], list[str]]]).decode
"""Reads `Job.columns`; what shapes a column and all of them too is to be told as both."""
_ENGINE = facets.ProcessingEngine(version=version("knockon"))


class Run(msgspec.Struct, frozen=True, rename="camel"):
    """One attempt at a task."""

    run_id: UUID
    facets: Mapping[str, Facet]


class Job(msgspec.Struct, frozen=True):
    """A job of a DAG."""

    namespace: str
    name: str
    facets: Mapping[str, Facet]


class InputDataset(msgspec.Struct, frozen=True):
    """A dataset that a job reads."""

    namespace: str
    name: str
    facets: Mapping[str, Facet]


class OutputDataset(InputDataset, frozen=True, rename="camel"):
    """A dataset that a job makes."""

    output_facets: Mapping[str, Facet]


class OpenLineageEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What OpenLineage is told."""

    event_type: Kind
    event_time: datetime
    run: Run
    job: Job
    inputs: list[InputDataset]
    outputs: list[OutputDataset]
    producer: str = PRODUCER
    schema_url: str = msgspec.field(
        default=f"{facets.SPEC}2-0-2/OpenLineage.json#/$defs/RunEvent", name="schemaURL"
    )


def openlineage_event(event: RunEvent, namespace: str) -> OpenLineageEvent:
    """The event; jobs are called ``dag.job`` there, and datasets as they are."""
    lease = event.lease
    job = lease.job
    return OpenLineageEvent(
        event_type=event.kind,
        event_time=event.at,
        run=Run(lease.run_id, dict(_of_run(event))),
        job=Job(namespace, job.full_name, {"jobType": facets.JobType(job_type="TASK")}),
        inputs=[InputDataset(namespace, each.name, dict(_schema(each))) for each in _inputs(lease)],
        outputs=[
            OutputDataset(
                namespace,
                each.name,
                dict([*_schema(each), *_column_lineage(lease, each, namespace)]),
                dict([*_subset(lease, each), *_statistics(event.outputs, each)]),
            )
            for each in lease.outputs
        ],
    )


_Named = Iterator[tuple[str, Facet]]


def _of_run(event: RunEvent) -> _Named:
    lease = event.lease
    yield "processing_engine", _ENGINE
    yield (
        "knockon_task",
        facets.Task(
            task=str(lease.task_id),
            attempt=lease.attempt,
            worker=lease.worker_id,
            partitions=lease.partitions,
        ),
    )
    yield from _nominal_time(lease)
    if event.error is not None:
        yield "errorMessage", facets.ErrorMessage(message=event.error[:_MAX_ERROR_CHARACTERS])


def _nominal_time(lease: Lease) -> _Named:
    """From the first to the last instant of the partitions, if they have a time."""
    windows = [part for key in _keys(lease, lease.outputs[0]) for part in key.values()]
    starts = [each.start for each in windows if isinstance(each.start, datetime)]
    ends = [each.end for each in windows if isinstance(each.end, datetime)]
    if starts and ends:
        yield (
            "nominalTime",
            facets.NominalTime(
                nominal_start_time=min(starts).isoformat(), nominal_end_time=max(ends).isoformat()
            ),
        )


def _keys(lease: Lease, output: Dataset) -> list[Mapping[str, DimensionValue]]:
    """The dimensions of each partition to be made; none where the job is not cut by them."""
    space = space_of(output.partitioning)
    try:
        return [space.values(each) for each in lease.partitions] if space.dimensions else []
    except InvalidPartition:  # ranges, which are no keys
        return []


def _inputs(lease: Lease) -> Iterable[Dataset]:
    """Each input once, however often it is read."""
    return {each.id: each for each in lease.inputs.values()}.values()


def _schema(dataset: Dataset) -> _Named:
    if dataset.columns:
        yield "schema", facets.Schema(fields=tuple(map(facets.Column, dataset.columns)))


def _column_lineage(lease: Lease, output: Dataset, namespace: str) -> _Named:
    datasets = {each.id: each for each in _inputs(lease)}
    fields: dict[str, list[InputField]] = defaultdict(list)
    shaping: list[InputField] = []
    for made, read, outputs, inputs in _pairs(lease.job.columns or b"[]"):
        if made != output.id or read not in datasets:
            continue
        for column, source in zip(outputs, inputs, strict=True):
            into = shaping if column == EVERY else fields[column]
            into += _fields(datasets[read], source, namespace)
    if fields or shaping:
        named = {name: facets.InputFields(each) for name, each in fields.items()}
        yield "columnLineage", facets.ColumnLineage(fields=named, dataset=shaping)


def _fields(dataset: Dataset, column: str, namespace: str) -> list[InputField]:
    """The columns that one of the lineage stands for."""
    named = (dataset.columns or ()) if column == EVERY else (column,)
    return [InputField(namespace, dataset.name, each) for each in named if each != NO_COLUMN]


def _subset(lease: Lease, output: Dataset) -> _Named:
    keys = zip(lease.partitions, _keys(lease, output), strict=False)
    partitions = [
        facets.Partition(text, {name: part.key for name, part in key.items()}) for text, key in keys
    ]
    if partitions:
        yield "subset", facets.Subset(output_condition=facets.Partitions(partitions))


def _statistics(outputs: Iterable[Output], dataset: Dataset) -> _Named:
    written = [each for each in outputs if each.dataset == dataset.name]
    rows = _total(each.row_count for each in written)
    size = _total(each.bytes for each in written)
    if rows is not UNSET or size is not UNSET:
        yield "outputStatistics", facets.OutputStatistics(row_count=rows, size=size)


def _total(counts: Iterable[int | None]) -> int | UnsetType:
    """The sum, if all is known and there is anything."""
    listed = list(counts)
    known = [each for each in listed if each is not None]
    return sum(known) if known and len(known) == len(listed) else UNSET
