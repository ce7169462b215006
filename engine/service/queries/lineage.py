"""Lineage as trees of datasets."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from engine.lineage.columns import ALL_COLUMNS, EVERY, ColumnMap
from engine.lineage.graph import Edge, Lineage
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.masking import HIDDEN
from engine.service.names import dataset_named
from engine.service.service import Service
from engine.service.visibility import Visibility

Direction = Literal["down", "up"]


class LineageNode(msgspec.Struct, frozen=True):
    """A dataset with its producer, and the next datasets in the direction of the tree.

    Below the roots, ``mapping`` and ``columns`` describe the edge from the parent node: ``columns``
    maps input columns to dependent output columns ("*": all); null: unknown. With ``again``, the
    next datasets appear elsewhere in the tree. A ``hidden`` dataset has no
    name, and ends its branch.
    """

    dataset: str
    job: str
    dag: str
    partitioning: str
    is_source: bool
    mapping: Any = None
    columns: dict[str, tuple[str, ...]] | None = None
    again: bool = False
    hidden: bool = False
    next: tuple["LineageNode", ...] = ()


@requires(Role.READER)
async def lineage_tree(
    caller: Caller,
    service: Service,
    dataset: str | None = None,
    direction: Direction = "down",
) -> tuple[LineageNode, ...]:
    """Return the tree of one dataset, or of all sources, or upstream of all unread datasets.

    Raises UnknownName.
    """
    async with service.snapshot(caller) as (conn, org):
        lineage = await org.lineage(conn)
        visible = await service.visibility(caller, conn, org)
    builder = _TreeBuilder(lineage, direction, visible)
    if dataset:
        roots = [dataset_named(lineage, dataset, visible).id]
    else:
        roots = list(_ends(lineage, direction, visible))
    return tuple(builder.node(root, None) for root in roots)


def _ends(lineage: Lineage, direction: Direction, visible: Visibility) -> Iterator[UUID]:
    """Return the roots: datasets without visible inputs, or upstream, without visible readers."""
    for job in visible.visible_jobs(lineage):
        for output in job.outputs:
            edges = lineage.inputs(job.id) if direction == "down" else lineage.readers(output)
            if all(edge.is_self or _is_hidden(lineage, edge, direction, visible) for edge in edges):
                yield output


def _is_hidden(lineage: Lineage, edge: Edge, direction: Direction, visible: Visibility) -> bool:
    next_job = edge.producer if direction == "down" else lineage.job(edge.job)
    return not visible.sees_job(next_job)


_HIDDEN_NODE = LineageNode(HIDDEN, HIDDEN, HIDDEN, "", is_source=False, hidden=True)


class _TreeBuilder:
    """Expands each dataset only once, because diamonds would grow a tree exponentially."""

    def __init__(self, lineage: Lineage, direction: Direction, visible: Visibility) -> None:
        self._visible = visible
        self._lineage = lineage
        self._direction = direction
        self._shown: set[UUID] = set()

    def node(self, dataset: UUID, edge: tuple[Edge, int] | None) -> LineageNode:
        if not self._visible.sees(dataset):
            return _HIDDEN_NODE
        lineage, job = self._lineage, self._lineage.producer(dataset)
        following = list(self._following(dataset))
        again = bool(following) and dataset in self._shown
        self._shown.add(dataset)
        return LineageNode(
            dataset=lineage.dataset(dataset).name,
            job=job.name,
            dag=job.dag_name,
            partitioning=dimensions_text(lineage, dataset),
            is_source=job.is_source,
            mapping=edge and edge[0].mapping.to_spec(),
            columns=edge and columns_of(edge[0].columns[edge[1]]),
            again=again,
            next=()
            if again
            else tuple(self.node(next_dataset, via) for next_dataset, via in following),
        )

    def _following(self, dataset: UUID) -> Iterator[tuple[UUID, tuple[Edge, int]]]:
        """Return the next datasets, each with its edge and the index of the edge's output."""
        if self._direction == "down":
            for edge in self._lineage.readers(dataset):
                for number, output in enumerate(self._lineage.job(edge.job).outputs):
                    yield output, (edge, number)
        else:
            job = self._lineage.producer(dataset)
            for edge in self._lineage.inputs(job.id):
                yield edge.dataset, (edge, job.outputs.index(dataset))


def columns_of(columns: ColumnMap | None) -> dict[str, tuple[str, ...]] | None:
    """Return the output columns affected by each input column ("*": all); None if unknown."""
    if columns is None:
        return None
    return {
        source: (EVERY,) if outputs is ALL_COLUMNS else outputs
        for source, outputs in columns.items()
    }


def dimensions_text(lineage: Lineage, dataset: UUID) -> str:
    """Return the dimensions as text: ``dt day * origin``."""
    dimensions: Sequence[tuple[str, Any]] = lineage.space(dataset).dimensions
    return " * ".join(
        f"{name} {getattr(dimension, 'grain', '')}".strip() for name, dimension in dimensions
    )
