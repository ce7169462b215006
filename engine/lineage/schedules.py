"""Schedules of sources in two versions of a DAG."""

from engine.lineage.compiled import CompiledDag

_Schedule = tuple[str, str]
"""(cron expression, time zone)."""


def changed_schedules(before: CompiledDag | None, now: CompiledDag) -> frozenset[str]:
    """Return the datasets with a schedule that is added, changed or removed."""
    changed = _schedules(before).items() ^ _schedules(now).items()
    return frozenset(dataset for dataset, _ in changed)


def _schedules(dag: CompiledDag | None) -> dict[str, _Schedule]:
    return {
        dataset: (job.source["cron"], job.source.get("zone", "UTC"))
        for job in (dag.jobs if dag else ())
        if job.source is not None and job.source["kind"] == "schedule"
        for dataset in job.outputs
    }
