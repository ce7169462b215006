"""States of datasets and jobs as a whole, by unfinished work and open invalidations.

They cost a few index look-ups each. The states of single partitions, and work lost by a fault, take
an audit of the dataset; see `partition_states`.
"""

from collections import defaultdict
from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from uuid import UUID

from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.lineage.neighbourhood import Node
from engine.model.dataset import Dataset
from engine.model.job import Job
from engine.model.states import TaskStatus
from engine.store.database import Connection
from engine.store.rows.neighbourhood import StaleEvidence, TasksOfJob
from engine.store.run import fetch

_MOST: Final = 1_000


class NodeState(StrEnum):
    """State of a dataset or job; the first that applies counts.

    A dataset is stale if it has open invalidations, or partitions left stale by a decision. A job
    without unfinished tasks is idle.
    """

    RUNNING = "running"
    FAILED = "failed"
    WAITING = "waiting"
    STALE = "stale"
    NEVER_BUILT = "never built"
    FRESH = "fresh"
    IDLE = "idle"


_IDLE: Final = NodeState.IDLE
_OF_TASKS = {
    TaskStatus.RUNNING: NodeState.RUNNING,
    TaskStatus.FAILED: NodeState.FAILED,
    TaskStatus.QUEUED: NodeState.WAITING,
    TaskStatus.BLOCKED: NodeState.WAITING,
}


class NodeStates:
    """The states of some nodes."""

    def __init__(self, tasks: Iterable[TasksOfJob], evidence: Iterable[StaleEvidence]) -> None:
        self._tasks: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
        for row in tasks:
            self._tasks[row.job][row.status] = row.tasks
        self._evidence = {row.dataset: row for row in evidence}

    def tasks(self, job: Job) -> dict[str, int]:
        """Return the unfinished tasks of a job, by status."""
        return self._tasks.get(job.id, {})

    def evidence(self, dataset: Dataset) -> StaleEvidence:
        """Return the evidence of a dataset's state."""
        return self._evidence[dataset.id]

    def of_job(self, job: Job) -> NodeState:
        """Return the state of a job."""
        tasks = self.tasks(job)
        return next((state for status, state in _OF_TASKS.items() if status in tasks), _IDLE)

    def of_dataset(self, dataset: Dataset, producer: Job) -> NodeState:
        """Return the state of a dataset with its producer."""
        of_job, evidence = self.of_job(producer), self.evidence(dataset)
        if of_job is not _IDLE:
            return of_job
        if evidence.open_invalidations or evidence.left_stale:
            return NodeState.STALE
        return NodeState.FRESH if evidence.is_built else NodeState.NEVER_BUILT


async def load_states(
    conn: Connection, org: OrgContext, lineage: Lineage, nodes: Iterable[Node]
) -> NodeStates:
    """Load the states of some datasets and jobs of the current versions."""
    datasets = [node for node in nodes if isinstance(node, Dataset)]
    jobs = {node.id for node in nodes if isinstance(node, Job)}
    jobs |= {lineage.producer(dataset.id).id for dataset in datasets}
    tasks = await fetch(
        conn, "neighbourhood.tasks", TasksOfJob, org_id=org.id, jobs=list(jobs), most=_MOST
    )
    evidence = await fetch(
        conn,
        "neighbourhood.evidence",
        StaleEvidence,
        org_id=org.id,
        datasets=[dataset.id for dataset in datasets],
        versions=[dataset.version for dataset in datasets],
        most=_MOST,
    )
    return NodeStates(tasks, evidence)
