"""Current DAG versions of an org, and the constraints on a new version."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from engine import partitions
from engine.errors import InvalidDag, KnockonError
from engine.lineage.catalog import CatalogEntry, space_of
from engine.lineage.compile import compile_dag
from engine.lineage.compiled import CompiledDag, CompiledInput, CompiledJob
from engine.lineage.sql import NOTHING_DEFINED, UserDefined
from engine.model.dag import DagFile
from engine.model.dagfile import reread_dag
from engine.model.dataset import grid_of
from engine.model.states import Activation
from engine.store.database import Connection
from engine.store.rows.dags import CurrentDag, UserDefinedNames
from engine.store.run import fetch


@dataclass(frozen=True, slots=True)
class CurrentVersion:
    """Current version of a DAG."""

    version_id: UUID
    compiled: CompiledDag


async def load_current_versions(conn: Connection, org_id: UUID) -> dict[str, CurrentVersion]:
    """Load the current version of every DAG of an org, by name."""
    rows = await fetch(conn, "dags.current", CurrentDag, org_id=org_id)
    return {
        row.dag_name: CurrentVersion(row.dag_version_id, CompiledDag.from_data(row.content))
        for row in rows
    }


async def load_user_defined(conn: Connection) -> UserDefined:
    """Load the functions and operators in the database beyond those of PostgreSQL."""
    (row,) = await fetch(conn, "dags.user_defined", UserDefinedNames)
    return UserDefined(*map(frozenset, (row.functions, row.unsafe, row.operators)))


def compile_among(
    current: Mapping[str, CurrentVersion], dag: DagFile, user_defined: UserDefined = NOTHING_DEFINED
) -> CompiledDag:
    """Compile a DAG file against the other DAGs of its org. Raises InvalidDag."""
    others = [version.compiled for name, version in current.items() if name != dag.dag]
    compiled = compile_dag(dag, {entry.name: entry for entry in _catalog(others)}, user_defined)
    if dag.dag in current:
        _check_read_by_others(current[dag.dag].compiled, compiled, others)
    return compiled


def followers(
    current: Mapping[str, CurrentVersion],
    dag_name: str,
    user_defined: UserDefined = NOTHING_DEFINED,
) -> Iterator[DagFile]:
    """Yield the unmodified DAGs that read a changed DAG and compile differently for that reason.

    Their SQL may read added or removed columns. A DAG that no longer compiles keeps its current
    version; the error is reported when that DAG is deployed.
    """
    outputs = {dataset.name for dataset in current[dag_name].compiled.datasets}
    for name, other in current.items():
        read = {dataset for job in other.compiled.jobs for dataset in job.input_datasets}
        if name == dag_name or read.isdisjoint(outputs):
            continue
        with suppress(InvalidDag):
            dag = reread_dag(other.compiled.file)
            if (
                compile_among(current, dag, user_defined).content_hash
                != other.compiled.content_hash
            ):
                yield dag


def _catalog(dags: Iterable[CompiledDag]) -> Iterable[CatalogEntry]:
    for dag in dags:
        jobs = {job.name: job for job in dag.jobs}
        inputs = {
            job.name: tuple((input_.dataset, input_.mapping) for input_ in job.inputs)
            for job in dag.jobs
        }
        for dataset in dag.datasets:
            job = jobs[dataset.job]
            source = job.source or {}
            yield CatalogEntry(
                name=dataset.name,
                dag_name=dag.name,
                job_name=dataset.job,
                partitioning=dataset.partitioning,
                columns=dataset.columns,
                inputs=inputs[dataset.job],
                storage=dataset.storage,
                is_source=job.activation == Activation.SOURCE,
                captured_table=str(source["table"]) if source.get("kind") == "postgres" else None,
            )


def _check_read_by_others(
    previous: CompiledDag, compiled: CompiledDag, others: Iterable[CompiledDag]
) -> None:
    """Raise InvalidDag if a dataset that another DAG reads is removed or repartitioned.

    Bounds and key lists may change, unless a key map of the reader has no meaning any more.
    """
    new = {dataset.name: dataset.partitioning for dataset in compiled.datasets}
    changed = {
        dataset.name: new.get(dataset.name)
        for dataset in previous.datasets
        if new.get(dataset.name) != dataset.partitioning
    }
    before = {dataset.name: dataset.partitioning for dataset in previous.datasets}
    for dag, job, read in _inputs(others):
        if read.dataset not in changed:
            continue
        now = changed[read.dataset]
        if now is None or grid_of(now) != grid_of(before[read.dataset]):
            raise InvalidDag(
                f"dataset {read.dataset!r} cannot be removed or repartitioned: job {job.name!r} of "
                f"DAG {dag.name!r} reads it; deploy that DAG without the input first"
            )
        output = next(each for each in dag.datasets if each.job == job.name)
        try:
            partitions.Mapping.from_spec(read.mapping, space_of(now), space_of(output.partitioning))
        except KnockonError as error:
            raise InvalidDag(
                f"dataset {read.dataset!r} cannot lose partitions that job {job.name!r} of DAG "
                f"{dag.name!r} maps: {error}; deploy that DAG with another mapping first"
            ) from error


def _inputs(
    dags: Iterable[CompiledDag],
) -> Iterator[tuple[CompiledDag, CompiledJob, CompiledInput]]:
    for dag in dags:
        for job in dag.jobs:
            for read in job.inputs:
                yield dag, job, read
