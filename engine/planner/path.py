"""Why a job is in a plan: the way back from its step to the invalidations, out of the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import UnknownName
from engine.planner.document import hops_of


def path_to(document: Mapping[str, Any], job: str) -> list[dict[str, Any]]:
    """The hops from a job's step back to what changed, nearest first.

    Each hop is ``{job, name, partitions, dataset, from, mapping, dirty, columns, invalidations}``:
    the step, and what was dirty of the dataset that led to it; ``columns`` None: all. The last
    hop's ``from`` is None, or a job whose tasks an earlier plan made. Of several ways it takes one
    with the fewest hops.

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
    """By job, its hop that is nearest to an invalidation; steps come parents first."""
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
        "partitions": step["partitions"],
        "dataset": via["dataset"],
        "from": via.get("from"),
        "mapping": via.get("mapping", "identity"),
        "dirty": via.get("partitions", step["partitions"]),
        "columns": via.get("columns"),
        "invalidations": document["causes"][via["causes"]],
    }
