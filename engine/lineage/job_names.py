"""Jobs by name, as given in requests: the name, or `dag.name`."""

from collections.abc import Container

from engine.errors import InvalidInput, UnknownName
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.source_positions import did_you_mean


def find_job(lineage: Lineage, name: str, hidden: Container[str] = ()) -> Job:
    """Return the job with this name or full name; those with ``hidden`` full names are unknown.

    Raises UnknownName, with a similar name if there is one, or InvalidInput if several DAGs have
    such a job.
    """
    among = [job for job in lineage.order if job.full_name not in hidden]
    named = [job for job in among if job.full_name == name]
    jobs = named or [job for job in among if job.name == name]
    if not jobs:
        similar = did_you_mean(name, [job.name for job in among])
        raise UnknownName(f"there is no job {name!r}{similar}")
    if len(jobs) > 1:
        names = ", ".join(repr(job.full_name) for job in jobs)
        raise InvalidInput(f"several DAGs have a job {name!r}: give one of {names}")
    return jobs[0]


def name_parts(lineage: Lineage, name: str, hidden: Container[str] = ()) -> tuple[str | None, str]:
    """Return the DAG and the name of a job; no DAG, and thus any, if the job is not deployed.

    Raises InvalidInput if several DAGs have such a job.
    """
    try:
        job = find_job(lineage, name, hidden)
    except UnknownName:
        return None, name
    return job.dag_name, job.name
