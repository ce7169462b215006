"""First runs that wait for inputs: queue them once enough inputs exist, or leave them blocked."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from engine.flow.execution.stale_decisions import delete_decisions, load_decided
from engine.flow.shared.load_partitions import answer_from_existing, existing_of
from engine.flow.shared.recorded_runs import load_have_run
from engine.flow.shared.stale import judged_keys
from engine.lineage.graph import Lineage
from engine.partitions import PartitionSet
from engine.planner import LoadedPartitions, is_expected, missing_inputs
from engine.planner.first_runs import SINGLE_RUN_KEY
from engine.store.clock import load_now
from engine.store.database import Connection
from engine.store.rows.tasks import UnblockedTask
from engine.store.run import execute


async def block_incomplete(
    conn: Connection, lineage: Lineage, rows: Sequence[UnblockedTask]
) -> set[UUID]:
    """Queue tasks that must run, except for those with a first run that waits for inputs.

    Blocks and returns those, and records the missing inputs. Decisions to leave the partitions
    stale end.
    """
    planned = [(lineage.job(row.job_id), row.partitions, row.row_filters) for row in rows]
    await delete_decisions(conn, lineage, planned)
    state = await _load_state(conn, lineage, rows)
    missing = {
        row.id: inputs for row in rows if (inputs := await _missing(conn, lineage, row, state))
    }
    await _block(conn, missing)
    complete = [row.id for row in rows if row.id not in missing]
    await execute(conn, "tasks.queue_first_runs", ids=complete)
    return {*missing}


async def block_expected(
    conn: Connection, lineage: Lineage, rows: Sequence[UnblockedTask]
) -> set[UUID]:
    """Block and return tasks about to be skipped whose first runs wait for inputs.

    Nothing that ran has reached them. But their inputs may be complete without another change, as
    when a deploy relaxes ``wait_for``, and only a waiting task is considered then. First runs left
    by decision, as when canceled, stay skipped; decisions on other partitions end.
    """
    state = await _load_state(conn, lineage, rows)
    decided = await load_decided(conn, lineage, [lineage.job(row.job_id) for row in rows])
    missing, ended = {}, []
    for row in rows:
        job, first = lineage.job(row.job_id), _first_runs(lineage, row, state)
        others = [key for key in judged_keys(job, row.partitions) if key not in first]
        ended += [(job, others, row.row_filters)] if others else []
        if not all((job.outputs[0], key) in decided for key in first):
            inputs = await _missing(conn, lineage, row, state)
            if inputs and await _is_expected(conn, lineage, row, state):
                missing[row.id] = inputs
    await delete_decisions(conn, lineage, ended)
    await _block(conn, missing)
    return {*missing}


async def _block(conn: Connection, missing: Mapping[UUID, Mapping[str, Sequence[str]]]) -> None:
    for id_, inputs in missing.items():
        await execute(conn, "tasks.wait_for_inputs", id=id_, waiting_for=Jsonb(inputs))


async def _is_expected(
    conn: Connection, lineage: Lineage, row: UnblockedTask, state: "_State"
) -> bool:
    job = lineage.job(row.job_id)
    keys = judged_keys(job, row.partitions)
    return await answer_from_existing(
        conn,
        lineage,
        state.existing,
        lambda existing: any(is_expected(lineage, job, key, existing, state.now) for key in keys),
    )


@dataclass(frozen=True, slots=True)
class _State:
    """Existing partitions of the outputs and inputs of jobs, and single-run jobs that have run."""

    existing: LoadedPartitions
    have_run: Collection[UUID]
    now: datetime


async def _load_state(conn: Connection, lineage: Lineage, rows: Sequence[UnblockedTask]) -> _State:
    jobs = [lineage.job(id_) for id_ in {row.job_id for row in rows}]
    datasets = {output for job in jobs for output in job.outputs}
    datasets |= {input_.dataset for job in jobs for input_ in job.inputs}
    single = [job for job in jobs if job.is_single_run]
    outputs = await load_have_run(conn, lineage, [job.outputs[0] for job in single])
    have_run = {job.id for job in single if job.outputs[0] in outputs}
    existing = await existing_of(conn, lineage, datasets)
    return _State(LoadedPartitions(existing), have_run, await load_now(conn))


def _first_runs(lineage: Lineage, row: UnblockedTask, state: _State) -> Sequence[str]:
    """Return the partitions never built; ``*`` for a single-run job with any.

    The first run of a job that discovers its partitions has a task without any.
    """
    unbuilt = _unbuilt(lineage, row, state)
    if not lineage.job(row.job_id).is_single_run:
        return unbuilt
    is_first = not (row.partitions or row.job_id in state.have_run)
    return (SINGLE_RUN_KEY,) if unbuilt or is_first else ()


def _unbuilt(lineage: Lineage, row: UnblockedTask, state: _State) -> list[str]:
    job = lineage.job(row.job_id)
    space = lineage.job_space(job)
    built = PartitionSet.union([state.existing.whole[output] for output in job.outputs])
    return [key for key in row.partitions if not built.covers(space.parse(key))]


async def _missing(
    conn: Connection, lineage: Lineage, row: UnblockedTask, state: _State
) -> dict[str, list[str]] | None:
    """Return the missing inputs of the first runs; None if no input or no first run is missing."""
    if not _first_runs(lineage, row, state):
        return None
    unbuilt = _unbuilt(lineage, row, state)
    job = lineage.job(row.job_id)
    return await answer_from_existing(
        conn,
        lineage,
        state.existing,
        lambda existing: missing_inputs(lineage, job, unbuilt, existing, state.now),
    )
