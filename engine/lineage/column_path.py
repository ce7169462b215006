"""The path of a column: the columns upstream that it is computed from, and those that it affects.

The rules are those of planning: a column that shapes the rows affects every column of the output.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from engine.lineage.columns import (
    PRUNED,
    DirtyColumns,
    Pruning,
    affecting_columns,
    propagate_columns,
    union_columns,
)
from engine.lineage.graph import Edge, Lineage
from engine.lineage.neighbourhood import Nodes
from engine.model.dataset import Dataset
from engine.model.job import Job

_Link = tuple[int, int, Callable[[DirtyColumns], DirtyColumns | Pruning]]
"""From a dataset to another one, with the columns reached from some columns."""
_Paths = dict[int, DirtyColumns]


def column_path(lineage: Lineage, dataset: Dataset, column: str, nodes: Nodes) -> _Paths:
    """Return the columns on the path, by dataset of the neighbourhood; others are not on it."""
    jobs = [node for node in nodes.values() if isinstance(node, Job)]
    jobs.sort(key=lambda job: lineage.rank[job.id.int])
    edges = [edge for job in jobs for edge in lineage.inputs(job.id) if edge.dataset.int in nodes]
    down = [link for edge in edges for link in _down(lineage, edge, nodes)]
    up = [link for edge in reversed(edges) for link in _up(lineage, edge, nodes)]
    path: _Paths = {}
    for links in (down, up):
        for id_, columns in _reached(links, dataset, column).items():
            path[id_] = union_columns(path[id_], columns) if id_ in path else columns
    return path


def _down(lineage: Lineage, edge: Edge, nodes: Nodes) -> Iterator[_Link]:
    for output, columns in zip(lineage.job(edge.job).outputs, edge.columns, strict=True):
        if output.int in nodes:
            yield edge.dataset.int, output.int, partial(propagate_columns, columns)


def _up(lineage: Lineage, edge: Edge, nodes: Nodes) -> Iterator[_Link]:
    for output, columns in zip(lineage.job(edge.job).outputs, edge.columns, strict=True):
        if output.int in nodes:
            yield output.int, edge.dataset.int, partial(affecting_columns, columns)


def _reached(links: Sequence[_Link], dataset: Dataset, column: str) -> _Paths:
    """Follow links in order; only a job that reads its own output needs a second round."""
    reached: _Paths = {dataset.id.int: frozenset({column})}
    before: _Paths = {}
    while before != reached:
        before = dict(reached)
        for start, end, follow in links:
            found = follow(reached[start]) if start in reached else PRUNED
            if not isinstance(found, Pruning):
                reached[end] = union_columns(reached[end], found) if end in reached else found
    return reached
