"""What a run says of its outputs: checked, completed, and as rows."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import InvalidInput
from engine.lineage.columns import read_columns
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.task import Completion, Lease, Output


class PartitionRow(msgspec.Struct, omit_defaults=True):
    """A partition as `partitions.write` takes it; what is left out is null."""

    task_id: UUID
    dataset_uuid: UUID
    dataset_version: UUID
    partition_key: str
    config_hash: str
    schema_hash: str | None = None
    location: str | None = None
    row_count: int | None = None
    bytes: int | None = None
    fingerprint: str | None = None
    column_fingerprints: Mapping[str, str] | None = None
    changed: bool | None = None
    changed_columns: frozenset[str] | None = None


def brief(completion: Completion) -> list[dict[str, Any]]:
    """The outputs as the task's own row keeps them."""
    return [
        {
            "dataset": output.dataset,
            "partition": output.partition,
            "rows": output.row_count,
            "bytes": output.bytes,
        }
        for output in _outputs(completion)
    ]


def _outputs(completion: Completion) -> Iterator[Output]:
    """What the run reported, and a bare word for each partition that it said nothing of.

    A whole (``Full``, ``PerUpdate``) that reports at all has named every partition it wrote.
    """
    yield from completion.outputs
    lease = completion.lease
    told = {(output.dataset, output.partition) for output in completion.outputs}
    if told and lease.job.is_unit:
        return
    for dataset in lease.outputs:
        for key in lease.partitions:
            if (dataset.name, key) not in told:
                yield Output(dataset.name, key)


def partition_rows(lineage: Lineage, completion: Completion) -> Iterator[PartitionRow]:
    """A row for each partition that the run wrote.

    Raises InvalidInput for what the job does not make, InvalidPartition for a key it cannot have.
    """
    lease = completion.lease
    datasets = {dataset.name: dataset for dataset in lease.outputs}
    for output in _outputs(completion):
        dataset = _dataset_of(lineage, completion, datasets, output)
        yield PartitionRow(
            task_id=lease.task_id,
            dataset_uuid=dataset.id,
            dataset_version=dataset.version,
            partition_key=output.partition,
            config_hash=lease.job.config_hash,
            schema_hash=output.schema_hash,
            location=output.location or dataset.location,
            row_count=output.row_count,
            bytes=output.bytes,
            fingerprint=output.fingerprint,
            column_fingerprints=_complete(lineage, dataset, output.column_fingerprints),
            changed=output.changed,
            changed_columns=output.changed_columns,
        )


def _complete(
    lineage: Lineage, dataset: Dataset, fingerprints: Mapping[str, str] | None
) -> Mapping[str, str] | None:
    """Fingerprints that say nothing of a column which somebody reads count for nothing."""
    if fingerprints is None:
        return None
    said = fingerprints.keys() | set(lineage.space(dataset.id).names)
    for edge in lineage.readers(dataset.id):
        if not said >= (read_columns(edge.columns) or set()):
            return None
    return fingerprints


def _dataset_of(
    lineage: Lineage, completion: Completion, datasets: dict[str, Dataset], output: Output
) -> Dataset:
    lease = completion.lease
    if output.dataset not in datasets:
        raise InvalidInput(
            f"job {lease.job.name!r} reported dataset {output.dataset!r}, which it does not "
            f"produce: report one of {', '.join(datasets)}"
        )
    if output.partition not in lease.partitions:
        _check_new(lineage, lease, datasets[output.dataset], output.partition)
    return datasets[output.dataset]


def _check_new(lineage: Lineage, lease: Lease, dataset: Dataset, partition: str) -> None:
    """Only a whole may find partitions that nobody knew of when its task was made."""
    if not lease.job.is_unit:
        raise InvalidInput(
            f"job {lease.job.name!r} reported partition {partition!r}, which its task does not "
            f"hold: report {', '.join(lease.partitions)}"
        )
    lineage.space(dataset.id).from_keys([partition])


def found_new(completion: Completion) -> Iterator[Output]:
    """The outputs of a whole that nobody knew of when its task was made."""
    known = set(completion.lease.partitions)
    return (each for each in completion.outputs if each.partition not in known)
