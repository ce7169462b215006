"""Current DAG versions of an org, and the constraints on a new version."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from engine import partitions
from engine.errors import InvalidDag, KnockonError
from engine.lineage.catalog import space_of
from engine.lineage.compile_together import compile_beside, compile_together, entries_of
from engine.lineage.compiled import CompiledDag, CompiledInput, CompiledJob
from engine.lineage.sql import NOTHING_DEFINED, UserDefined
from engine.model.dag import DagFile
from engine.model.dagfile import reread_dag
from engine.model.dataset import grid_of
from engine.store.database import Connection
from engine.store.rows.dags import CurrentDag, UserDefinedNames
from engine.store.run import fetch
from engine.wording import some


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
    current: Mapping[str, CurrentVersion],
    dags: Sequence[DagFile],
    user_defined: UserDefined = NOTHING_DEFINED,
) -> dict[str, CompiledDag]:
    """Compile DAG files among each other and the other DAGs of their org, by name.

    Raises InvalidDag with the problems of all files.
    """
    names = Counter(dag.dag for dag in dags)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise InvalidDag(
            f"several files define DAG {repeated[0]!r}: leave out all but one, or rename the others"
        )
    compiled, errors = compile_each(current, dags, user_defined)
    if errors:
        raise InvalidDag("\n".join(map(str, errors.values())))
    if problems := [*_losses_of_others(current, compiled)]:
        raise InvalidDag("\n".join(problems))
    return compiled


def compile_each(
    current: Mapping[str, CurrentVersion],
    dags: Sequence[DagFile],
    user_defined: UserDefined = NOTHING_DEFINED,
) -> tuple[dict[str, CompiledDag], dict[str, InvalidDag]]:
    """Compile DAG files as `compile_among`; return those that compile, and the errors, by name."""
    given = {dag.dag for dag in dags}
    others = [version.compiled for name, version in current.items() if name not in given]
    return compile_together(dags, others, user_defined)


def followers(
    current: Mapping[str, CurrentVersion],
    compiled: dict[str, CompiledDag],
    user_defined: UserDefined = NOTHING_DEFINED,
) -> Iterator[DagFile]:
    """Yield the unmodified DAGs that read changed DAGs and compile differently for that reason.

    Their SQL may read added or removed columns. A DAG that no longer compiles keeps its current
    version; the error is reported when that DAG is deployed.
    """
    outputs = {
        dataset.name
        for name, each in compiled.items()
        if name not in current or current[name].compiled.content_hash != each.content_hash
        for dataset in each.datasets
    }
    readers = {
        name: other.compiled
        for name, other in current.items()
        if name not in compiled
        and any(not outputs.isdisjoint(job.input_datasets) for job in other.compiled.jobs)
    }
    if not readers:
        return
    among = {name: version.compiled for name, version in current.items()} | compiled
    datasets = {name: tuple(entries_of(each)) for name, each in among.items()}
    for name, other in readers.items():
        with suppress(InvalidDag):
            dag = reread_dag(other.file, where=name)
            again = compile_beside(dag, datasets, user_defined)
            if again.content_hash != other.content_hash:
                yield dag


def _losses_of_others(
    current: Mapping[str, CurrentVersion], compiled: Mapping[str, CompiledDag]
) -> Iterator[str]:
    """Describe the datasets removed or repartitioned that DAGs not in ``compiled`` read.

    Bounds and key lists may change, unless a key map of the reader has no meaning any more.
    """
    before = {
        dataset.name: dataset.partitioning
        for name in current.keys() & compiled.keys()
        for dataset in current[name].compiled.datasets
    }
    now = {
        dataset.name: dataset.partitioning for dag in compiled.values() for dataset in dag.datasets
    }
    others = [version.compiled for name, version in current.items() if name not in compiled]
    readers: dict[str, list[str]] = {}
    for dag, job, read in _inputs(others):
        grid, new_grid = before.get(read.dataset), now.get(read.dataset)
        if grid == new_grid or grid is None:
            continue
        if new_grid is None or grid_of(new_grid) != grid_of(grid):
            readers.setdefault(read.dataset, []).append(f"{dag.name}.{job.name}")
        elif error := _mapping_error(dag, job, read, new_grid):
            yield (
                f"dataset {read.dataset!r} cannot lose partitions that job {job.name!r} of DAG "
                f"{dag.name!r} maps: {error}; deploy that DAG with another mapping first"
            )
    for dataset, names in sorted(readers.items()):
        yield (
            f"dataset {dataset!r} cannot be removed or repartitioned, because jobs of other DAGs "
            f"read it: {some(sorted(names), most=10)}; deploy the files of these DAGs together "
            "with this one, or without the input first"
        )


def _mapping_error(
    dag: CompiledDag, job: CompiledJob, read: CompiledInput, partitioning: str
) -> KnockonError | None:
    """Return the error of a job's mapping from an input with another partitioning."""
    output = next(each for each in dag.datasets if each.job == job.name)
    spaces = space_of(partitioning), space_of(output.partitioning)
    try:
        partitions.Mapping.from_spec(read.mapping, *spaces)
    except KnockonError as error:
        return error
    return None


def _inputs(
    dags: Iterable[CompiledDag],
) -> Iterator[tuple[CompiledDag, CompiledJob, CompiledInput]]:
    for dag in dags:
        for job in dag.jobs:
            for read in job.inputs:
                yield dag, job, read
