"""Learn: the column lineage that runs have told becomes that of the datasets that they made.

A run can tell of a dataset if it is part of an attempt at a task that made the generation which is
served, by a job that lets its runs tell. Runs add to what is known, and never take away.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from engine.flow.facts import Fact, insert_own, own_invalidation
from engine.flow.known import load_existing
from engine.flow.resolve import known_columns
from engine.flow.scene import Scene
from engine.flow.stale import stale_keys, stale_partitions
from engine.lineage.columns import EVERY
from engine.lineage.graph import Edge, Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.openlineage import tasks_of
from engine.model.told import Name, Told, ToldRead
from engine.store.database import Connection
from engine.store.orgs import lock_planning
from engine.store.run import execute, fetch


class _Row(msgspec.Struct, frozen=True):
    """A row of ``column_lineage``."""

    output: UUID
    output_column: str
    input: UUID
    input_column: str
    job: UUID


async def learn(conn: Connection, scene: Scene, told: Sequence[Told]) -> int:
    """Take in what runs have told; gives how many rows are new.

    Belongs into the transaction that moves the position behind the message.
    """
    if not told or not await _news(conn, scene, told):
        return 0
    await lock_planning(conn, scene.org_id)
    before = await scene.lineage(conn)
    news = await _news(conn, scene, told)  # a deploy may have come in between
    if not news:
        return 0
    await execute(conn, "dags.insert_columns", rows=Jsonb(msgspec.to_builtins(news)))
    await execute(conn, "orgs.bump_epoch", org_id=scene.org_id)
    await _make_up(conn, scene, before, news)
    return len(news)


async def _news(conn: Connection, scene: Scene, told: Sequence[Told]) -> list[_Row]:
    """The rows that are not known yet."""
    lineage = await scene.lineage(conn)
    found: dict[_Row, None] = {}
    for each, dataset in await _learners(conn, scene, lineage, told):
        job = lineage.producer(dataset.id)
        found |= dict.fromkeys(_new_rows(lineage, job, dataset, each))
    return list(found)


async def _learners(
    conn: Connection, scene: Scene, lineage: Lineage, told: Sequence[Told]
) -> list[tuple[Told, Dataset]]:
    """What was told, with the dataset that it is of; without what nobody has to learn from."""
    runs = [(i, *tasks_of(run)) for i, each in enumerate(told) for run in each.runs]
    places, firsts, lasts = zip(*runs, strict=True)
    rows = await fetch(
        conn,
        "lineage.learners",
        org_id=scene.org_id,
        places=list(places),
        firsts=list(firsts),
        lasts=list(lasts),
    )
    pairs = [(told[row["place"]], lineage.find_dataset(row["dataset"]), row) for row in rows]
    return [
        (each, dataset)
        for each, dataset, row in pairs
        if dataset and dataset.version == row["version"] and _is_meant(each, each.names, dataset)
    ]


def _is_meant(told: Told, names: Sequence[Name], dataset: Dataset) -> bool:
    return any(naming.means(name, dataset.name) for naming in told.naming for name in names)


def _new_rows(lineage: Lineage, job: Job, dataset: Dataset, told: Told) -> list[_Row]:
    """The rows; none where any column of it is missing, or is of what the job does not read.

    Half of a lineage would prune what counts.
    """
    known = known_columns(dataset, lineage.space(dataset.id))
    if known is None or not {*(dataset.columns or ())} <= told.columns <= known:
        return []
    rows: set[_Row] = set()
    for read in told.reads:
        edges = _meant(lineage, job, told, read)
        if not edges:
            return []
        rows.update(_rows(lineage, job, dataset, edges, read))
    return [each for each in rows if not _is_known(lineage, each)]


def _meant(lineage: Lineage, job: Job, told: Told, read: ToldRead) -> list[Edge]:
    """How the job reads the dataset of a column; nothing where that is not one, or lacks it."""
    edges = [
        edge
        for edge in lineage.inputs(job.id)
        if _is_meant(told, read.names, lineage.dataset(edge.dataset))
    ]
    if len({edge.dataset for edge in edges}) != 1:
        return []
    source = lineage.dataset(edges[0].dataset)
    known = known_columns(source, lineage.space(source.id))
    return edges if known is None or read.column in known else []


def _rows(
    lineage: Lineage, job: Job, dataset: Dataset, edges: Sequence[Edge], read: ToldRead
) -> Iterator[_Row]:
    """The rows of one read, with what picks the input's rows and what places the output's.

    None of an input whose columns nobody has named: they may be called otherwise in its events.
    """
    source = lineage.dataset(edges[0].dataset)
    if source.columns is None:
        return
    placing = _partitioned_by(lineage, dataset)
    if job.update_strategy == "append":
        placing |= {*job.unique_key}
    output = EVERY if read.output in placing else read.output
    yield _Row(dataset.id, output, source.id, read.column, job.id)
    cursors = {edge.input.cursor["column"] for edge in edges if edge.input.cursor}
    for column in _partitioned_by(lineage, source) | cursors:
        yield _Row(dataset.id, EVERY, source.id, column, job.id)


def _partitioned_by(lineage: Lineage, dataset: Dataset) -> set[str]:
    dimensions = lineage.space(dataset.id).dimensions
    return {column for name, each in dimensions for column in (name, each.column or name)}


def _is_known(lineage: Lineage, row: _Row) -> bool:
    for edge in lineage.inputs(row.job):
        columns = edge.columns[lineage.job(row.job).outputs.index(row.output)]
        if edge.dataset == row.input and columns is not None and row.input_column in columns:
            outputs = columns[row.input_column]
            return outputs is None or row.output_column in outputs
    return False


async def _make_up(conn: Connection, scene: Scene, before: Lineage, news: Sequence[_Row]) -> None:
    """Invalidate what is stale by the new rows, since changes were pruned by the old ones.

    An input of which nothing was known counted as read in all its columns.
    """
    lineage = await scene.lineage(conn)
    facts: list[Fact] = []
    for id_ in dict.fromkeys(row.job for row in news if _is_grown(before, row)):
        job, output = lineage.job(id_), lineage.dataset(lineage.job(id_).outputs[0])
        space, existing = lineage.space(output.id), await load_existing(conn, lineage, output.id)
        keys = list(space.keys(existing))
        stale = list(stale_keys(await stale_partitions(conn, lineage, [(job, keys)]), job, keys))
        if stale:
            texts = space.texts(space.from_keys(stale))
            facts.append(
                own_invalidation(
                    output.id,
                    output.version,
                    texts,
                    reason="definition_change",
                    source="openlineage",
                )
            )
    await insert_own(conn, scene, facts)


def _is_grown(before: Lineage, row: _Row) -> bool:
    """Whether columns of the input were known before, by which changes may have been pruned."""
    index = before.job(row.job).outputs.index(row.output)
    return any(
        edge.dataset == row.input and edge.columns[index] is not None
        for edge in before.inputs(row.job)
    )
