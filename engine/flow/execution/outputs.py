"""Check and complete the outputs that a run reports."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

from engine.errors import InvalidInput
from engine.lineage.columns import ALL_COLUMNS, read_columns
from engine.lineage.content import Content, Written
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.task import Completion, Output
from engine.store.ids import new_id


class Report(msgspec.Struct, frozen=True):
    """Report of a run on one written partition."""

    task_id: UUID
    dataset_uuid: UUID
    dataset_version: UUID
    partition_key: str
    config_hash: str
    location: str | None
    output: Output
    column_fingerprints: Mapping[str, str] | None
    fingerprint: str | None

    def written(self, before: Content | None) -> Written:
        """Return the content, with a unique fingerprint if none was reported.

        An output reported as unchanged keeps the fingerprint of ``before``.
        """
        output, fingerprint = self.output, self.fingerprint
        if fingerprint is None:
            is_as_before = output.changed is False and before is not None
            fingerprint = before.fingerprint if is_as_before and before else None
        return Written(
            fingerprint or str(new_id()),
            self.column_fingerprints,
            output.row_count,
            output.changed,
            output.changed_columns,
        )


def summaries(completion: Completion) -> list[dict[str, Any]]:
    """Return the outputs in the form stored in the task's row."""
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
    """Yield each reported partition, then the task's other partitions without a fingerprint.

    A run on new rows (``PerUpdate``) with any report at all has named every partition it wrote.
    """
    yield from completion.outputs
    lease = completion.lease
    reported = {(output.dataset, output.partition) for output in completion.outputs}
    if reported and lease.job.is_per_update:
        return
    for dataset in lease.outputs:
        for key in lease.partitions:
            if (dataset.name, key) not in reported:
                yield Output(dataset.name, key)


def reports(lineage: Lineage, completion: Completion) -> Iterator[Report]:
    """Check the outputs of a run, and yield a report for each written partition.

    Raises InvalidInput for outputs the job does not produce, InvalidPartition for impossible keys.
    """
    lease = completion.lease
    datasets = {dataset.name: dataset for dataset in lease.outputs}
    for output in _outputs(completion):
        dataset = _dataset_of(lineage, completion, datasets, output)
        columns = _complete_fingerprints(lineage, dataset, output.column_fingerprints)
        yield Report(
            task_id=lease.task_id,
            dataset_uuid=dataset.id,
            dataset_version=dataset.version,
            partition_key=output.partition,
            config_hash=lease.job.config_hash,
            location=output.location or dataset.location,
            output=output,
            column_fingerprints=columns,
            fingerprint=output.fingerprint or _combined_fingerprint(lineage, dataset, columns),
        )


def _complete_fingerprints(
    lineage: Lineage, dataset: Dataset, fingerprints: Mapping[str, str] | None
) -> Mapping[str, str] | None:
    """Return the column fingerprints if they cover every column that is read, otherwise None."""
    if fingerprints is None:
        return None
    covered = fingerprints.keys() | set(lineage.space(dataset.id).names)
    for edge in lineage.readers(dataset.id):
        columns = read_columns(edge.columns)
        if columns is not ALL_COLUMNS and not covered >= columns:
            return None
    return fingerprints


def _combined_fingerprint(
    lineage: Lineage, dataset: Dataset, fingerprints: Mapping[str, str] | None
) -> str | None:
    """Combine the column fingerprints into one; None if columns may be missing."""
    if fingerprints is None:
        return None
    covered = fingerprints.keys() | set(lineage.space(dataset.id).names)
    if dataset.columns is not None:
        is_whole = covered >= set(dataset.columns)
    else:
        is_whole = all(
            read_columns(edge.columns) is not ALL_COLUMNS for edge in lineage.readers(dataset.id)
        )
    if not is_whole:
        return None
    return sha256(msgspec.json.encode(fingerprints, order="deterministic")).hexdigest()[:32]


def _dataset_of(
    lineage: Lineage, completion: Completion, datasets: dict[str, Dataset], output: Output
) -> Dataset:
    """Check an output against the job and the task. Raises InvalidInput, InvalidPartition."""
    lease = completion.lease
    if output.dataset not in datasets:
        raise InvalidInput(
            f"job {lease.job.name!r} reported dataset {output.dataset!r}, which it does not "
            f"produce: report one of {', '.join(datasets)}"
        )
    dataset = datasets[output.dataset]
    if output.partition not in lease.partitions:
        if not lease.job.is_single_run:
            raise InvalidInput(
                f"job {lease.job.name!r} reported partition {output.partition!r}, which its task "
                f"does not contain: report {', '.join(lease.partitions)}"
            )
        lineage.space(dataset.id).from_keys([output.partition])
    return dataset


def unplanned_outputs(completion: Completion) -> Iterator[Output]:
    """Yield the outputs of a single-run job that were unknown when the task was created."""
    known = set(completion.lease.partitions)
    return (output for output in completion.outputs if output.partition not in known)
