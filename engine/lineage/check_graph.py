"""Checks of a DAG file across jobs, including the jobs of other DAGs."""

from collections.abc import Iterator

import networkx as nx

from engine.lineage.catalog import DagContext, outputs
from engine.lineage.self_read import datasets_of_others
from engine.model.source_positions import Problem


def check_graph(context: DagContext) -> Iterator[Problem]:
    """Report duplicate job names, datasets with two producers, and cycles."""
    yield from _check_names(context)
    yield from _check_producers(context)
    yield from _check_cycles(context)


def _check_names(context: DagContext) -> Iterator[Problem]:
    seen: set[str] = set()
    for j, job in enumerate(context.dag.jobs):
        if job.name in seen:
            yield Problem(("jobs", j, "name"), f"another job has the name {job.name!r}: rename one")
        seen.add(job.name)


def _check_producers(context: DagContext) -> Iterator[Problem]:
    producers: dict[str, str] = {
        entry.name: f"job {entry.job_name!r} of DAG {entry.dag_name!r}"
        for entry in context.catalog.values()
    }
    for path, job, output in outputs(context.dag):
        other = producers.setdefault(output.dataset, f"job {job.name!r}")
        if path != context.output_paths[output.dataset] or output.dataset in context.catalog:
            yield Problem(
                (*path, "dataset"), f"{output.dataset!r} is made by {other} already: keep one"
            )


def _check_cycles(context: DagContext) -> Iterator[Problem]:
    output_paths = context.output_paths
    try:
        cycle = [start for start, _ in nx.find_cycle(_graph(context), list(output_paths))]
    except nx.NetworkXNoCycle:
        return
    # The error points at a position, so the cycle must start at a dataset of this file.
    first = next(i for i, name in enumerate(cycle) if name in output_paths)
    names = [*cycle[first:], *cycle[:first], cycle[first]]
    path = " → ".join(_with_dag(name, context) for name in names)
    yield Problem(
        output_paths[names[0]][:2], f"datasets depend on each other, {path}: break the cycle"
    )


def _graph(context: DagContext) -> "nx.DiGraph[str]":
    """Return the graph of datasets, with an edge from each dataset to those built from it.

    A dataset built from its own earlier partitions is no cycle (see `check_self_read`).
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(context.output_paths)
    for _, job, output in outputs(context.dag):
        graph.add_edges_from((name, output.dataset) for name in datasets_of_others(job))
    for entry in context.catalog.values():
        sources = (source for source, _ in entry.inputs if source != entry.name)
        graph.add_edges_from((source, entry.name) for source in sources)
    return graph


def _with_dag(name: str, context: DagContext) -> str:
    entry = context.catalog.get(name)
    return f"{name} (DAG {entry.dag_name})" if entry else name
