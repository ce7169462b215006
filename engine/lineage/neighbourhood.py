"""The neighbourhood of a dataset: the nearest datasets and jobs in both directions, up to a limit.

The cost is that of the neighbourhood, whatever the size of the lineage.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import NamedTuple

from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.job import Job

Node = Dataset | Job
Nodes = Mapping[int, Node]
"""Nodes by the integers of their ids; see `Lineage`."""
Sees = Callable[[Node], bool]
_Steps = Callable[[Lineage, Dataset], Iterator[Node]]


class Outside(NamedTuple):
    """The neighbours of a node beyond the neighbourhood: their number, and whether any is hidden.

    Hidden ones are not counted.
    """

    more: int
    is_hidden: bool


def nearest(
    lineage: Lineage, dataset: Dataset, *, upstream: int, downstream: int, limit: int, sees: Sees
) -> Nodes:
    """Return the nodes around a dataset, the nearest first, up to ``limit`` including itself.

    ``upstream`` and ``downstream`` are numbers of jobs to cross. Both directions get an equal share
    of the limit, unless one of them needs less.
    """
    nodes: dict[int, Node] = {dataset.id.int: dataset}
    walks = (
        _walk(lineage, dataset, upstream, _steps_up, sees),
        _walk(lineage, dataset, downstream, _steps_down, sees),
    )
    for node in (each for pair in zip_longest(*walks) for each in pair if each is not None):
        if len(nodes) >= limit:
            break
        nodes[node.id.int] = node
    return nodes


def outside(lineage: Lineage, node: Node, nodes: Nodes, sees: Sees) -> tuple[Outside, Outside]:
    """Return the neighbours of a node beyond the neighbourhood, upstream and downstream."""
    sides = (_upstream_of(lineage, node), _downstream_of(lineage, node))
    up, down = (_outside(side, nodes, sees) for side in sides)
    return up, down


def _outside(side: Iterable[Node], nodes: Nodes, sees: Sees) -> Outside:
    missing = {each.id.int: each for each in side if each.id.int not in nodes}
    more = sum(map(sees, missing.values()))
    return Outside(more, is_hidden=more < len(missing))


def _walk(
    lineage: Lineage, start: Dataset, depth: int, steps: _Steps, sees: Sees
) -> Iterator[Node]:
    """Yield the visible nodes in one direction, level by level."""
    seen, level = {start.id.int}, [start]
    for _ in range(depth):
        following = []
        for node in (node for dataset in level for node in steps(lineage, dataset)):
            if node.id.int not in seen and sees(node):
                seen.add(node.id.int)
                if isinstance(node, Dataset):
                    following.append(node)
                yield node
        level = following


def _steps_up(lineage: Lineage, dataset: Dataset) -> Iterator[Node]:
    """Yield the producer and its inputs."""
    for job in _upstream_of(lineage, dataset):
        yield job
        yield from _upstream_of(lineage, job)


def _steps_down(lineage: Lineage, dataset: Dataset) -> Iterator[Node]:
    """Yield each reader, followed by its outputs, so that a limit leaves few jobs without any."""
    for job in _downstream_of(lineage, dataset):
        yield job
        yield from _downstream_of(lineage, job)


def _upstream_of(lineage: Lineage, node: Node) -> Iterator[Node]:
    if isinstance(node, Dataset):
        yield lineage.producer(node.id)
    else:
        yield from (lineage.dataset(edge.dataset) for edge in lineage.upstream_inputs(node.id))


def _downstream_of(lineage: Lineage, node: Node) -> Iterator[Node]:
    if isinstance(node, Dataset):
        readers = (edge for edge in lineage.readers(node.id) if not edge.is_self)
        yield from (lineage.job(edge.job) for edge in readers)
    else:
        yield from map(lineage.dataset, node.outputs)
