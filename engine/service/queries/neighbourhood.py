"""The neighbourhood of a dataset in the lineage, with the states of datasets and jobs."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from engine.errors import InvalidInput, UnknownName
from engine.lineage.column_path import column_path
from engine.lineage.columns import ALL_COLUMNS, EVERY, DirtyColumns
from engine.lineage.graph import Lineage
from engine.lineage.neighbourhood import Node, Nodes, Sees, nearest, outside
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.source_positions import did_you_mean
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.names import dataset_named
from engine.service.queries.lineage import columns_of, dimensions_text
from engine.service.queries.node_states import NodeState, NodeStates, load_states
from engine.service.service import Service
from engine.service.visibility import Visibility

N = TypeVar("N", Dataset, Job)
MOST_NODES: Final = 300
MOST_DEPTH: Final = 100


class More(msgspec.Struct, frozen=True):
    """The neighbours of a node that are not part of the neighbourhood.

    Hidden ones are not counted; ``is_hidden_upstream`` and ``is_hidden_downstream`` are set if
    there are any.
    """

    upstream: int
    downstream: int
    is_hidden_upstream: bool
    is_hidden_downstream: bool


class DatasetNode(msgspec.Struct, frozen=True):
    """A dataset of a neighbourhood.

    ``path`` are its columns on the path of the requested column ("*": all); null if it is not on
    the path. ``open_invalidations`` are not planned yet; ``left_stale`` are the partitions left
    stale by a decision. Both are counted up to 1,000.
    """

    id: UUID
    name: str
    dag: str
    partitioning: str
    is_source: bool
    state: NodeState
    open_invalidations: int
    left_stale: int
    path: tuple[str, ...] | None
    more: More


class JobNode(msgspec.Struct, frozen=True):
    """A job of a neighbourhood, with its unfinished tasks by status, counted up to 1,000 each."""

    id: UUID
    name: str
    dag: str
    is_source: bool
    state: NodeState
    tasks: dict[str, int]
    more: More


class NodeEdge(msgspec.Struct, frozen=True):
    """An edge from a dataset to a job that reads it, or from a job to an output.

    ``mapping`` and ``columns`` describe what a job reads. ``columns`` maps each output dataset to
    the output columns affected by each input column ("*": all), or to null if they are unknown; it
    is null unless requested.
    """

    upstream: UUID
    downstream: UUID
    mapping: Any = None
    columns: dict[str, dict[str, tuple[str, ...]] | None] | None = None


class Neighbourhood(msgspec.Struct, frozen=True):
    """Datasets and jobs around a dataset, the nearest first, with the edges between them."""

    dataset: str
    datasets: tuple[DatasetNode, ...]
    jobs: tuple[JobNode, ...]
    edges: tuple[NodeEdge, ...]


@requires(Role.READER)
async def neighbourhood(
    caller: Caller,
    service: Service,
    dataset: str,
    *,
    upstream: int = 2,
    downstream: int = 2,
    limit: int = MOST_NODES,
    with_columns: bool = False,
    column: str | None = None,
) -> Neighbourhood:
    """Return the datasets and jobs around a dataset, up to ``limit``.

    ``upstream`` and ``downstream`` are numbers of jobs to cross; ``column`` requests the path of
    one column of the dataset. Raises UnknownName and InvalidInput.
    """
    _check(upstream, downstream, limit)
    async with service.snapshot(caller) as (conn, org):
        lineage = await org.lineage(conn)
        visible = await service.visibility(caller, conn, org)
        center, sees = dataset_named(lineage, dataset, visible), _sees(visible)
        nodes = nearest(
            lineage, center, upstream=upstream, downstream=downstream, limit=limit, sees=sees
        )
        states = await load_states(conn, org, lineage, nodes.values())
    path = {} if column is None else _path(lineage, center, column, nodes)
    builder = _Builder(lineage, nodes, states, path, sees)
    return Neighbourhood(
        dataset=center.name,
        datasets=tuple(map(builder.dataset, _of_type(nodes, Dataset))),
        jobs=tuple(map(builder.job, _of_type(nodes, Job))),
        edges=tuple(_edges(lineage, nodes, with_columns)),
    )


def _check(upstream: int, downstream: int, limit: int) -> None:
    if not 1 <= limit <= MOST_NODES:
        raise InvalidInput(f"the limit is {limit}: give a number of nodes from 1 to {MOST_NODES}")
    if not (0 <= upstream <= MOST_DEPTH and 0 <= downstream <= MOST_DEPTH):
        raise InvalidInput(f"a depth is from 0 to {MOST_DEPTH} jobs upstream and downstream")


def _sees(visible: Visibility) -> Sees:
    if visible.is_full:
        return lambda _: True
    return lambda node: visible.sees_job(node) if isinstance(node, Job) else visible.sees(node.id)


def _path(lineage: Lineage, dataset: Dataset, column: str, nodes: Nodes) -> dict[int, DirtyColumns]:
    known = dataset.columns
    if known is not None and column not in known:
        hint = did_you_mean(column, known) or f"; its columns are {', '.join(known)}"
        raise UnknownName(f"dataset {dataset.name!r} has no column {column!r}{hint}")
    return column_path(lineage, dataset, column, nodes)


class _Builder:
    """Builds the nodes of one answer."""

    def __init__(
        self,
        lineage: Lineage,
        nodes: Nodes,
        states: NodeStates,
        path: dict[int, DirtyColumns],
        sees: Sees,
    ) -> None:
        self._lineage = lineage
        self._nodes = nodes
        self._states = states
        self._path = path
        self._sees = sees

    def dataset(self, dataset: Dataset) -> DatasetNode:
        job, evidence = self._lineage.producer(dataset.id), self._states.evidence(dataset)
        return DatasetNode(
            id=dataset.id,
            name=dataset.name,
            dag=job.dag_name,
            partitioning=dimensions_text(self._lineage, dataset.id),
            is_source=job.is_source,
            state=self._states.of_dataset(dataset, job),
            open_invalidations=evidence.open_invalidations,
            left_stale=evidence.left_stale,
            path=_path_of(self._path.get(dataset.id.int)),
            more=self._more(dataset),
        )

    def job(self, job: Job) -> JobNode:
        return JobNode(
            id=job.id,
            name=job.name,
            dag=job.dag_name,
            is_source=job.is_source,
            state=self._states.of_job(job),
            tasks=self._states.tasks(job),
            more=self._more(job),
        )

    def _more(self, node: Node) -> More:
        up, down = outside(self._lineage, node, self._nodes, self._sees)
        return More(up.more, down.more, up.is_hidden, down.is_hidden)


def _path_of(columns: DirtyColumns | None) -> tuple[str, ...] | None:
    if columns is None:
        return None
    return (EVERY,) if columns is ALL_COLUMNS else tuple(sorted(columns))


def _of_type(nodes: Nodes, type_: type[N]) -> Iterable[N]:
    return (node for node in nodes.values() if isinstance(node, type_))


def _edges(lineage: Lineage, nodes: Nodes, with_columns: bool) -> Iterator[NodeEdge]:
    for job in _of_type(nodes, Job):
        outputs = [lineage.dataset(output).name for output in job.outputs]
        for edge in lineage.inputs(job.id):
            if edge.dataset.int in nodes:
                maps = zip(outputs, map(columns_of, edge.columns), strict=True)
                yield NodeEdge(
                    upstream=edge.dataset,
                    downstream=job.id,
                    mapping=edge.mapping.to_spec(),
                    columns=dict(maps) if with_columns else None,
                )
        yield from (NodeEdge(job.id, output) for output in job.outputs if output.int in nodes)
