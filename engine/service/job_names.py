"""Jobs by name, as given in requests."""

from engine.errors import UnknownName
from engine.lineage.graph import Lineage
from engine.model.job import Job
from engine.model.source_positions import did_you_mean


def find_job(lineage: Lineage, name: str) -> Job:
    """Return the job with this name. Raises UnknownName, with a similar name if there is one."""
    jobs = {job.name: job for job in lineage.order}
    if name not in jobs:
        raise UnknownName(f"there is no job {name!r}{did_you_mean(name, jobs)}")
    return jobs[name]
