"""Lineage as trees of datasets."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from engine.lineage.columns import EVERY
from engine.lineage.graph import Edge, Lineage
from engine.service.caller import Caller, Role, requires
from engine.service.service import Service

Direction = Literal["down", "up"]


class LineageNode(msgspec.Struct, frozen=True):
    """A dataset with the job that produces it, and the next datasets in the direction of the tree.

    Below the roots, ``mapping`` and ``columns`` are those of the edge from the node above:
    ``columns`` by input column, the output columns that it shapes ("*": all); null: unknown.
    ``again``: what comes next has been shown in another place already.
    """

    dataset: str
    job: str
    dag: str
    partitioning: str
    is_source: bool
    mapping: Any = None
    columns: dict[str, tuple[str, ...]] | None = None
    again: bool = False
    next: tuple["LineageNode", ...] = ()


@requires(Role.READER)
async def lineage_tree(
    caller: Caller,
    service: Service,
    dataset: str | None = None,
    direction: Direction = "down",
) -> tuple[LineageNode, ...]:
    """Return the tree of one dataset, or the trees of all sources, or upstream of all ends.

    Raises UnknownName.
    """
    async with service.snapshot(caller) as (conn, org):
        lineage = await org.lineage(conn)
    grower = _Grower(lineage, direction)
    roots = [lineage.dataset_named(dataset).id] if dataset else list(_ends(lineage, direction))
    return tuple(grower.grow(root, None) for root in roots)


def _ends(lineage: Lineage, direction: Direction) -> Iterator[UUID]:
    """Return the roots: datasets without inputs, or upstream, datasets without readers."""
    for job in lineage.order:
        for output in job.outputs:
            if not (lineage.inputs(job.id) if direction == "down" else lineage.readers(output)):
                yield output


class _Grower:
    """Expands each dataset only once, because diamonds would grow a tree exponentially."""

    def __init__(self, lineage: Lineage, direction: Direction) -> None:
        self._lineage = lineage
        self._direction = direction
        self._shown: set[UUID] = set()

    def grow(self, dataset: UUID, edge: tuple[Edge, int] | None) -> LineageNode:
        lineage, job = self._lineage, self._lineage.producer(dataset)
        following = list(self._following(dataset))
        again = bool(following) and dataset in self._shown
        self._shown.add(dataset)
        return LineageNode(
            dataset=lineage.dataset(dataset).name,
            job=job.name,
            dag=job.dag_name,
            partitioning=_in_words(lineage, dataset),
            is_source=job.activation == "source",
            mapping=edge and edge[0].mapping.to_spec(),
            columns=edge and _columns(*edge),
            again=again,
            next=() if again else tuple(self.grow(to, over) for to, over in following),
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


def _columns(edge: Edge, output: int) -> dict[str, tuple[str, ...]] | None:
    shaped = edge.columns[output]
    if shaped is None:
        return None
    return {source: (EVERY,) if outputs is None else outputs for source, outputs in shaped.items()}


def _in_words(lineage: Lineage, dataset: UUID) -> str:
    """Return the dimensions as text: ``dt day * origin``."""
    named: Sequence[tuple[str, Any]] = lineage.space(dataset).dimensions
    return " * ".join(f"{name} {getattr(each, 'grain', '')}".strip() for name, each in named)
