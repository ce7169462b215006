"""What a run says of its outputs: checked, completed, and as rows."""

from collections.abc import Iterator
from typing import Any

from engine.errors import InvalidInput
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.task import Completion, Lease, Output


def task_row(completion: Completion) -> dict[str, Any]:
    """How the task's own row ends: its token, and its outputs in brief."""
    return {
        "id": completion.lease.task_id,
        "token": completion.lease.token,
        "outputs": [_brief(output) for output in _outputs(completion)],
    }


def _brief(output: Output) -> dict[str, Any]:
    return {
        "dataset": output.dataset,
        "partition": output.partition,
        "rows": output.row_count,
        "bytes": output.bytes,
    }


def _outputs(completion: Completion) -> Iterator[Output]:
    """What the run reported, and a bare word for each partition that it said nothing of.

    A whole (``Full``, ``PerUpdate``) that reports at all has named every partition it wrote.
    """
    yield from completion.outputs
    lease = completion.lease
    told = {(output.dataset, output.partition) for output in completion.outputs}
    if told and lease.job.strategy != "PerPartition":
        return
    for dataset in lease.outputs:
        for key in lease.partitions:
            if (dataset.name, key) not in told:
                yield Output(dataset.name, key)


def partition_rows(lineage: Lineage, completion: Completion) -> Iterator[dict[str, Any]]:
    """A row for each partition that the run wrote.

    Raises InvalidInput for what the job does not make, InvalidPartition for a key it cannot have.
    """
    lease = completion.lease
    datasets = {dataset.name: dataset for dataset in lease.outputs}
    for output in _outputs(completion):
        dataset = _dataset_of(lineage, completion, datasets, output)
        yield {
            "task_id": lease.task_id,
            "dataset_uuid": dataset.id,
            "dataset_version": dataset.version,
            "partition_key": output.partition,
            "config_hash": lease.job.config_hash,
            "schema_hash": output.schema_hash,
            "location": output.location or dataset.location,
            "row_count": output.row_count,
            "bytes": output.bytes,
            "fingerprint": output.fingerprint,
            "column_fingerprints": output.column_fingerprints,
            "changed": output.changed,
        }


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
    if lease.job.strategy == "PerPartition":
        raise InvalidInput(
            f"job {lease.job.name!r} reported partition {partition!r}, which its task does not "
            f"hold: report {', '.join(lease.partitions)}"
        )
    lineage.space(dataset.id).from_keys([partition])


def found_new(completion: Completion) -> Iterator[Output]:
    """The outputs of a whole that nobody knew of when its task was made."""
    known = set(completion.lease.partitions)
    return (each for each in completion.outputs if each.partition not in known)
