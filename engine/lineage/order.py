"""Topological order of a graph given by indexes."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain


def topological_order(dependents: Sequence[Sequence[int]]) -> list[int]:
    """Return the indexes of ``dependents`` in topological order: each before those in its list.

    Kahn's algorithm (1962), in a third of the time of graphlib, which is used only to find the
    cycle for the error. Raises graphlib.CycleError.
    """
    blockers = [0] * len(dependents)
    for dependent in chain.from_iterable(dependents):
        blockers[dependent] += 1
    order = [index for index, count in enumerate(blockers) if not count]
    for index in order:
        for dependent in dependents[index]:
            blockers[dependent] -= 1
            if not blockers[dependent]:
                order.append(dependent)
    if len(order) < len(dependents):
        raise _cycle_error(dependents)
    return order


def _cycle_error(dependents: Sequence[Sequence[int]]) -> CycleError:
    sorter = TopologicalSorter[int]()
    for index, direct in enumerate(dependents):
        for dependent in direct:
            sorter.add(dependent, index)
    try:
        sorter.prepare()
    except CycleError as error:
        return error
    raise AssertionError("unordered nodes form a cycle")
