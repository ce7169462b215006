"""Jobs in the documents of plans, identified by DAG and name.

A document has the ids of jobs, which change with every deploy of the DAG. A name alone may be that
of jobs in several DAGs.
"""

from collections.abc import Iterable, Mapping

from engine.planner.compare import JobName
from engine.store.database import Connection
from engine.store.rows.plans import PlannedJob
from engine.store.run import fetch


async def load_job_names(conn: Connection, ids: Iterable[str]) -> Mapping[str, JobName]:
    """Load the DAGs and names of jobs by the ids in documents."""
    rows = await fetch(conn, "plans.jobs", PlannedJob, ids=list(ids))
    return {row.id: (row.dag_name, row.name) for row in rows}
