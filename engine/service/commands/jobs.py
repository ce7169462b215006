"""Run jobs by hand."""

from consumers import manual
from consumers.manual import Requested
from engine.errors import InvalidInput
from engine.lineage.graph import Lineage
from engine.lineage.job_names import find_job
from engine.model.event import SourceEvent
from engine.model.states import Reason, Role
from engine.service.caller import Caller, requires
from engine.service.service import Service
from engine.service.visibility import Visibility


@requires(Role.WRITER)
async def run(
    caller: Caller, service: Service, job: str, partitions: tuple[str, ...] | None = None
) -> Requested:
    """Recompute all or some partitions of a job's outputs.

    Raises UnknownName, or InvalidInput for a source job, an impossible partition, or a name that
    jobs of several DAGs have.
    """
    async with service.transaction(caller) as (conn, org):
        visible = await service.visibility(caller, conn, org)
        dataset = _first_output(await org.lineage(conn), job, visible)
        event = SourceEvent(
            dataset=dataset, partitions=partitions, reason=Reason.MANUAL, source="knockon run"
        )
        return await manual.invalidate(conn, org, event, caller.user)


def _first_output(lineage: Lineage, name: str, visible: Visibility) -> str:
    """Return the dataset to invalidate in order to run the job."""
    job = find_job(lineage, name, visible.job_names)
    dataset = lineage.dataset(job.outputs[0]).name
    if job.is_source:
        raise InvalidInput(
            f"the source job {name!r} does not run: "
            f"report a change with 'knockon invalidate {dataset}'"
        )
    return dataset
