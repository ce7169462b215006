"""Topological order of a graph given by indexes."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain


def parents_first(dependents: Sequence[Sequence[int]]) -> list[int]:
    """Return the indexes of ``dependents`` in topological order: each before those in its list.

    Kahn's algorithm (1962), in a third of the time of graphlib, which is used only to find the
    cycle for the error. Raises graphlib.CycleError.
    """
    left = [0] * len(dependents)
    for each in chain.from_iterable(dependents):
        left[each] += 1
    order = [place for place, count in enumerate(left) if not count]
    for place in order:
        for each in dependents[place]:
            left[each] -= 1
            if not left[each]:
                order.append(each)
    if len(order) < len(dependents):
        raise _circle(dependents)
    return order


def _circle(dependents: Sequence[Sequence[int]]) -> CycleError:
    sorter = TopologicalSorter[int]()
    for place, each in enumerate(dependents):
        for later in each:
            sorter.add(later, place)
    try:
        sorter.prepare()
    except CycleError as error:
        return error
    raise AssertionError("what is left over stands in a circle")
