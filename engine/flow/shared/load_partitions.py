"""Load the known and the existing partitions of datasets for the pure planner.

Known partitions exist, or open tasks will build them. Partitions that a later deploy has added to
the bounds are left out: a statement may see more than the lineage read before it.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from engine.lineage.catalog import space_of
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.partitions import PartitionSet
from engine.planner import LoadedPartitions, MissingState, PartitionLookup, expected_partitions
from engine.store.database import Connection
from engine.store.rows.partitions import EarlierKeys, PartitionKey
from engine.store.run import fetch

T = TypeVar("T")


async def answer_from_known(
    conn: Connection, lineage: Lineage, question: Callable[[PartitionLookup], T]
) -> T:
    """Ask the pure planner repeatedly, loading the known partitions missing in each attempt."""
    loaders = load_known, load_known_among
    return await _answer(conn, lineage, LoadedPartitions(), question, *loaders)


async def answer_from_existing(
    conn: Connection,
    lineage: Lineage,
    existing: LoadedPartitions,
    question: Callable[[PartitionLookup], T],
) -> T:
    """Ask the pure planner repeatedly, adding the existing partitions missing in each attempt."""
    loaders = load_existing, load_existing_among
    return await _answer(conn, lineage, existing, question, *loaders)


async def _answer(
    conn: Connection,
    lineage: Lineage,
    loaded: LoadedPartitions,
    question: Callable[[PartitionLookup], T],
    load: Callable[[Connection, Lineage, UUID], Awaitable[PartitionSet]],
    load_among: Callable[[Connection, Lineage, UUID, PartitionSet], Awaitable[PartitionSet]],
) -> T:
    while True:
        try:
            return question(loaded)
        except MissingState as needed:
            for dataset in needed.datasets:
                loaded.whole[dataset] = await load(conn, lineage, dataset)
            for dataset in needed.unfinished:
                loaded.of_tasks[dataset] = await load_unfinished(conn, lineage, dataset)
            for dataset, wanted in needed.parts.items():
                loaded.add_part(dataset, wanted, await load_among(conn, lineage, dataset, wanted))


async def load_known(conn: Connection, lineage: Lineage, dataset: UUID) -> PartitionSet:
    """Load the partitions that exist or that unfinished tasks are about to build.

    Partitions left unbuilt by decision are included: a later change of their inputs builds them.
    """
    params = _known(lineage, dataset)
    rows = await fetch(conn, "partitions.known", PartitionKey, **params)
    return lineage.space(dataset).from_alike(row.key for row in rows)


async def load_known_among(
    conn: Connection, lineage: Lineage, dataset: UUID, partitions: PartitionSet
) -> PartitionSet:
    """Load those of finitely many partitions that `load_known` returns."""
    space = lineage.space(dataset)
    params = _known(lineage, dataset) | {"keys": list(space.keys(partitions))}
    rows = await fetch(conn, "partitions.known_among", PartitionKey, **params)
    return space.from_alike(row.key for row in rows)


async def load_unfinished(conn: Connection, lineage: Lineage, dataset: UUID) -> PartitionSet:
    """Load the partitions that unfinished tasks are to build."""
    producer = lineage.producer(dataset).id
    rows = await fetch(conn, "partitions.unfinished", PartitionKey, producer=producer)
    return lineage.space(dataset).from_alike(row.key for row in rows)


def _known(lineage: Lineage, dataset: UUID) -> dict[str, Any]:
    """Return the parameters of a statement about known partitions."""
    producer = lineage.producer(dataset)
    first = lineage.dataset(producer.outputs[0])
    return {
        "dataset": dataset,
        "version": lineage.dataset(dataset).version,
        "producer": producer.id,
        "first_output": first.id,
        "first_version": first.version,
    }


async def load_existing(conn: Connection, lineage: Lineage, dataset: UUID) -> PartitionSet:
    """Load the partitions that exist now."""
    version = lineage.dataset(dataset).version
    rows = await fetch(conn, "partitions.existing", PartitionKey, dataset=dataset, version=version)
    return lineage.space(dataset).from_alike(row.key for row in rows)


async def load_existing_among(
    conn: Connection, lineage: Lineage, dataset: UUID, partitions: PartitionSet
) -> PartitionSet:
    """Load those of finitely many partitions that exist now, and one of all that exist.

    The result is empty only if the dataset has no partition.
    """
    space, version = lineage.space(dataset), lineage.dataset(dataset).version
    keys = list(space.keys(partitions))
    rows = await fetch(
        conn,
        "partitions.existing_among",
        PartitionKey,
        dataset=dataset,
        version=version,
        keys=keys,
    )
    return space.from_alike(row.key for row in rows)


async def load_earlier(conn: Connection, lineage: Lineage, dataset: UUID) -> PartitionSet:
    """Load the partitions of all earlier dataset versions with the current grid."""
    space, version = lineage.space(dataset), lineage.dataset(dataset).version
    rows = await fetch(conn, "partitions.earlier", EarlierKeys, dataset=dataset, version=version)
    alike = [row.keys for row in rows if space.is_alike(space_of(row.partitioning))]
    return space.from_alike(key for keys in alike for key in keys)


async def existing_of(
    conn: Connection, lineage: Lineage, datasets: Iterable[UUID]
) -> dict[UUID, PartitionSet]:
    """Load the existing partitions of several datasets."""
    return {dataset: await load_existing(conn, lineage, dataset) for dataset in datasets}


async def load_expected(
    conn: Connection, lineage: Lineage, job: Job, now: datetime
) -> PartitionSet:
    """Load the partitions in being that the existing inputs of a job give it."""
    return await answer_from_existing(
        conn,
        lineage,
        LoadedPartitions(),
        lambda existing: expected_partitions(lineage, job, existing, now),
    )
