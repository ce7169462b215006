"""Checks of a DAG file across jobs, including the jobs of other DAGs."""

from collections.abc import Iterator

import networkx as nx

from engine.lineage.catalog import Surroundings, outputs
from engine.model.source_positions import Problem


def check_graph(around: Surroundings) -> Iterator[Problem]:
    """Report duplicate job names, datasets with two producers, and cycles."""
    yield from _check_names(around)
    yield from _check_producers(around)
    yield from _check_cycles(around)


def _check_names(around: Surroundings) -> Iterator[Problem]:
    seen: set[str] = set()
    for j, job in enumerate(around.dag.jobs):
        if job.name in seen:
            yield Problem(("jobs", j, "name"), f"another job has the name {job.name!r}: rename one")
        seen.add(job.name)


def _check_producers(around: Surroundings) -> Iterator[Problem]:
    producers: dict[str, str] = {
        entry.name: f"job {entry.job_name!r} of DAG {entry.dag_name!r}"
        for entry in around.catalog.values()
    }
    for path, job, output in outputs(around.dag):
        other = producers.setdefault(output.dataset, f"job {job.name!r}")
        if path != around.places[output.dataset] or output.dataset in around.catalog:
            yield Problem(
                (*path, "dataset"), f"{output.dataset!r} is made by {other} already: keep one"
            )


def _check_cycles(around: Surroundings) -> Iterator[Problem]:
    places = around.places
    try:
        cycle = [start for start, _ in nx.find_cycle(_graph(around), list(places))]
    except nx.NetworkXNoCycle:
        return
    # The error points at a position, so the cycle must start at a dataset of this file.
    first = next(i for i, name in enumerate(cycle) if name in places)
    names = [*cycle[first:], *cycle[:first], cycle[first]]
    path = " → ".join(_with_dag(name, around) for name in names)
    yield Problem(places[names[0]][:2], f"datasets depend on each other, {path}: break the cycle")


def _graph(around: Surroundings) -> "nx.DiGraph[str]":
    """Return the graph of datasets, with an edge from each dataset to those built from it."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(around.places)
    for _, job, output in outputs(around.dag):
        graph.add_edges_from((each.dataset, output.dataset) for each in job.inputs)
    for entry in around.catalog.values():
        graph.add_edges_from((source, entry.name) for source, _ in entry.inputs)
    return graph


def _with_dag(name: str, around: Surroundings) -> str:
    entry = around.catalog.get(name)
    return f"{name} (DAG {entry.dag_name})" if entry else name
