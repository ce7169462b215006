"""Convert run events to the format of OpenLineage."""

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
"""Decodes `Job.columns`; an input column listed for one output column and for all appears twice."""
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
    """A dataset that a job writes."""

    output_facets: Mapping[str, Facet]


class OpenLineageEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """OpenLineage's ``RunEvent``."""

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
    """Convert an event; jobs are named ``dag.job``, datasets keep their names."""
    lease = event.lease
    job = lease.job
    return OpenLineageEvent(
        event_type=event.kind,
        event_time=event.at,
        run=Run(lease.run_id, dict(_of_run(event))),
        job=Job(namespace, job.full_name, {"jobType": facets.JobType(job_type="TASK")}),
        inputs=[
            InputDataset(namespace, dataset.name, dict(_schema(dataset)))
            for dataset in _inputs(lease)
        ],
        outputs=[
            OutputDataset(
                namespace,
                dataset.name,
                dict([*_schema(dataset), *_column_lineage(lease, dataset, namespace)]),
                dict([*_subset(lease, dataset), *_statistics(event.outputs, dataset)]),
            )
            for dataset in lease.outputs
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
    """Yield the time window from the first to the last instant of the partitions, if any."""
    windows = [part for key in _keys(lease, lease.outputs[0]) for part in key.values()]
    starts = [window.start for window in windows if isinstance(window.start, datetime)]
    ends = [window.end for window in windows if isinstance(window.end, datetime)]
    if starts and ends:
        yield (
            "nominalTime",
            facets.NominalTime(
                nominal_start_time=min(starts).isoformat(), nominal_end_time=max(ends).isoformat()
            ),
        )


def _keys(lease: Lease, output: Dataset) -> list[Mapping[str, DimensionValue]]:
    """Return the dimensions of each partition; empty if one run makes all partitions."""
    space = space_of(output.partitioning)
    try:
        return [space.values(key) for key in lease.partitions] if space.dimensions else []
    except InvalidPartition:  # ranges of keys
        return []


def _inputs(lease: Lease) -> Iterable[Dataset]:
    """Return the distinct input datasets: a job may read one by several aliases."""
    return {dataset.id: dataset for dataset in lease.inputs.values()}.values()


def _schema(dataset: Dataset) -> _Named:
    if dataset.columns:
        yield "schema", facets.Schema(fields=tuple(map(facets.Column, dataset.columns)))


def _column_lineage(lease: Lease, output: Dataset, namespace: str) -> _Named:
    datasets = {dataset.id: dataset for dataset in _inputs(lease)}
    by_column: dict[str, list[InputField]] = defaultdict(list)
    of_all_columns: list[InputField] = []
    for output_id, input_id, outputs, inputs in _pairs(lease.job.columns or b"[]"):
        if output_id != output.id or input_id not in datasets:
            continue
        for column, source in zip(outputs, inputs, strict=True):
            target = of_all_columns if column == EVERY else by_column[column]
            target += _fields(datasets[input_id], source, namespace)
    if by_column or of_all_columns:
        fields = {name: facets.InputFields(inputs) for name, inputs in by_column.items()}
        yield "columnLineage", facets.ColumnLineage(fields=fields, dataset=of_all_columns)


def _fields(dataset: Dataset, column: str, namespace: str) -> list[InputField]:
    """Return the dataset's columns denoted by a column of the lineage."""
    names = (dataset.columns or ()) if column == EVERY else (column,)
    return [InputField(namespace, dataset.name, name) for name in names if name != NO_COLUMN]


def _subset(lease: Lease, output: Dataset) -> _Named:
    keys = zip(lease.partitions, _keys(lease, output), strict=False)
    partitions = [
        facets.Partition(text, {name: part.key for name, part in key.items()}) for text, key in keys
    ]
    if partitions:
        yield "subset", facets.Subset(output_condition=facets.Partitions(partitions))


def _statistics(outputs: Iterable[Output], dataset: Dataset) -> _Named:
    written = [output for output in outputs if output.dataset == dataset.name]
    rows = _total(output.row_count for output in written)
    size = _total(output.bytes for output in written)
    if rows is not UNSET or size is not UNSET:
        yield "outputStatistics", facets.OutputStatistics(row_count=rows, size=size)


def _total(counts: Iterable[int | None]) -> int | UnsetType:
    """Return the sum; UNSET if any count is missing, or all are."""
    listed = list(counts)
    known = [count for count in listed if count is not None]
    return sum(known) if known and len(known) == len(listed) else UNSET
