"""Jobs of the current DAG versions, with the number of unfinished tasks."""

from collections import defaultdict
from uuid import UUID

import msgspec

from engine.flow.shared.pauses import load_pauses
from engine.model.states import Activation, ExecutionStrategy, Role
from engine.service.caller import Caller, requires
from engine.service.names import require_dag
from engine.service.service import Service
from engine.store.rows.pauses import Pause
from engine.store.rows.tasks import UnfinishedCount
from engine.store.run import fetch


class JobRow(msgspec.Struct, frozen=True):
    """A job; ``tasks`` has the number of unfinished tasks by status.

    A job with a ``pause`` has its tasks planned, but not claimed.
    """

    dag: str
    name: str
    activation: Activation
    strategy: ExecutionStrategy
    operator: str
    runtime: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tasks: dict[str, int]
    pause: Pause | None


@requires(Role.READER)
async def jobs(caller: Caller, service: Service, dag: str | None = None) -> list[JobRow]:
    """List the jobs of all DAGs, or of one, each after the jobs upstream. Raises UnknownName."""
    async with service.snapshot(caller) as (conn, org):
        lineage = await org.lineage(conn)
        visible = await service.visibility(caller, conn, org)
        if dag is not None:
            require_dag(lineage, dag, visible)
        pauses = await load_pauses(conn, org)
        counts = await fetch(conn, "tasks.unfinished_by_job", UnfinishedCount, org_id=org.id)
    tasks: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for row in counts:
        tasks[row.job_id][row.status] = row.tasks
    return [
        JobRow(
            dag=job.dag_name,
            name=job.name,
            activation=job.activation,
            strategy=job.strategy,
            operator=job.operator,
            runtime=job.runtime,
            inputs=tuple(read.name for read in job.inputs),
            outputs=tuple(lineage.dataset(output).name for output in job.outputs),
            tasks=tasks[job.id],
            pause=pauses.of_job(job.dag_name, job.name),
        )
        for job in visible.visible_jobs(lineage)
        if dag in (None, job.dag_name)
    ]
