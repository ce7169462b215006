"""Complete: a run's outputs, inputs and cursors are recorded, and what waits behind is settled.

One transaction, and only with the current lease token.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.errors import InvalidInput, LeaseLost
from engine.flow.cursors import move_cursors
from engine.flow.scene import Scene
from engine.flow.settle import settle
from engine.model.dataset import Dataset
from engine.model.task import Completion, Output
from engine.store.database import Connection
from engine.store.run import execute, fetch


async def complete(conn: Connection, scene: Scene, completion: Completion) -> None:
    """Record one successful run. Raises LeaseLost, having written nothing, without the lease."""
    accepted = await complete_all(conn, scene, [completion])
    if not accepted:
        lease = completion.lease
        raise LeaseLost(
            f"task {lease.task_id} is not {lease.worker_id!r}'s any more: its lease ran out or it "
            "was canceled; throw the result away, whoever holds the task now does the work"
        )


async def complete_all(
    conn: Connection, scene: Scene, completions: Sequence[Completion]
) -> set[UUID]:
    """Record many runs in one transaction; returns the tasks whose lease was still good."""
    rows = [_task_row(each) for each in completions]
    async with conn.transaction():
        done = await fetch(conn, "tasks.succeed", rows=Jsonb(rows))
        accepted = {row["id"]: row["token"] for row in done}
        good = [
            each for each in completions if accepted.get(each.lease.task_id) == each.lease.token
        ]
        if good:
            await _record(conn, scene, good)
    return set(accepted)


async def _record(conn: Connection, scene: Scene, completions: Sequence[Completion]) -> None:
    ids = [each.lease.task_id for each in completions]
    rows = [row for each in completions for row in _partition_rows(each)]
    changed = [row["task_id"] for row in await fetch(conn, "partitions.write", rows=Jsonb(rows))]
    await execute(conn, "tasks.record_inputs", ids=ids)
    await execute(conn, "tasks.note_outcome", ids=ids, changed=changed)
    for each in completions:
        await move_cursors(conn, each)
    await settle(conn, scene, ids, changed)


def _task_row(completion: Completion) -> dict[str, Any]:
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


def _partition_rows(completion: Completion) -> Iterator[dict[str, Any]]:
    lease = completion.lease
    datasets = {dataset.name: dataset for dataset in lease.outputs}
    for output in _outputs(completion):
        dataset = _dataset_of(completion, datasets, output)
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


def _dataset_of(completion: Completion, datasets: dict[str, Dataset], output: Output) -> Dataset:
    job = completion.lease.job
    if output.dataset not in datasets:
        raise InvalidInput(
            f"job {job.name!r} reported dataset {output.dataset!r}, which it does not produce: "
            f"report one of {', '.join(datasets)}"
        )
    if output.partition not in completion.lease.partitions:
        raise InvalidInput(
            f"job {job.name!r} reported partition {output.partition!r}, which its task does not "
            f"hold: report {', '.join(completion.lease.partitions)}"
        )
    return datasets[output.dataset]
