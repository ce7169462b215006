"""Explain why a job is in a plan: the path back to the invalidations, from the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import UnknownName
from engine.planner.document import hops_of, partitions_of


def path_to(document: Mapping[str, Any], job: str) -> list[dict[str, Any]]:
    """Return the hops from a job's step back to the change, nearest first.

    Each hop is ``{job, name, partitions, dataset, from, mapping, dirty, columns, invalidations}``:
    the step, and the dirty part of its input; ``columns`` None: all. ``from`` of the last hop is
    None, or a job with tasks from an earlier plan. The path has the fewest hops possible.

    Raises:
        UnknownName: the plan has no step of the job.
    """
    steps = {step["job"]: step for step in document["steps"]}
    if job not in steps:
        raise UnknownName(f"the plan has no step of job {job}; see what it pruned")
    nearest = _nearest(document)
    hops: list[dict[str, Any]] = []
    while job in steps:
        hops.append(_hop(document, steps[job], nearest[job]))
        job = nearest[job].get("from", "")
    return hops


def _nearest(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return by job the hop nearest to an invalidation; steps are in topological order."""
    far: dict[str, int] = {}
    nearest: dict[str, Mapping[str, Any]] = {}
    for step in document["steps"]:
        hops = hops_of(document, step)
        hop = min(hops, key=lambda hop: far.get(hop.get("from", ""), 0))
        nearest[step["job"]] = hop
        far[step["job"]] = far.get(hop.get("from", ""), 0) + 1
    return nearest


def _hop(
    document: Mapping[str, Any], step: Mapping[str, Any], via: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "job": step["job"],
        "name": step["name"],
        "partitions": partitions_of(step),
        "dataset": via["dataset"],
        "from": via.get("from"),
        "mapping": via.get("mapping", "identity"),
        "dirty": via.get("partitions", partitions_of(step)),
        "columns": via.get("columns"),
        "invalidations": document["invalidation_sets"][via["invalidation_set"]],
    }
