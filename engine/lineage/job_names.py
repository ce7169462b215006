"""Jobs by name, as given in requests: the name, or `dag.name`."""

from engine.errors import InvalidInput, UnknownName
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.source_positions import did_you_mean


def find_job(lineage: Lineage, name: str) -> Job:
    """Return the job with this name or full name.

    Raises UnknownName, with a similar name if there is one, or InvalidInput if several DAGs have
    such a job.
    """
    named = [job for job in lineage.order if job.full_name == name]
    jobs = named or [job for job in lineage.order if job.name == name]
    if not jobs:
        similar = did_you_mean(name, [job.name for job in lineage.order])
        raise UnknownName(f"there is no job {name!r}{similar}")
    if len(jobs) > 1:
        names = ", ".join(repr(job.full_name) for job in jobs)
        raise InvalidInput(f"several DAGs have a job {name!r}: give one of {names}")
    return jobs[0]


def name_parts(lineage: Lineage, name: str) -> tuple[str | None, str]:
    """Return the DAG and the name of a job; no DAG, and thus any, if the job is not deployed.

    Raises InvalidInput if several DAGs have such a job.
    """
    try:
        job = find_job(lineage, name)
    except UnknownName:
        return None, name
    return job.dag_name, job.name
