"""Datasets in their current versions."""

from uuid import UUID

import msgspec

from engine.flow.shared.pauses import load_pauses
from engine.model.states import Role
from engine.service.caller import Caller, requires
from engine.service.masking import HIDDEN
from engine.service.names import require_dag
from engine.service.queries.lineage import dimensions_text
from engine.service.service import Service
from engine.store.rows.pauses import Pause


class DatasetRow(msgspec.Struct, frozen=True):
    """A dataset with its producer and the jobs that read it.

    ``columns`` are the declared columns; null if none are declared. Invalidations of a dataset with
    a ``pause``, its own or the org's, are not planned.
    """

    name: str
    dag: str
    job: str
    is_source: bool
    partitioning: str
    columns: tuple[str, ...] | None
    readers: tuple[str, ...]
    version: UUID
    pause: Pause | None


@requires(Role.READER)
async def datasets(caller: Caller, service: Service, dag: str | None = None) -> list[DatasetRow]:
    """List the datasets of all DAGs, or of one, each after the datasets upstream.

    Raises UnknownName.
    """
    async with service.snapshot(caller) as (conn, org):
        lineage, pauses = await org.lineage(conn), await load_pauses(conn, org)
        visible = await service.visibility(caller, conn, org)
    if dag is not None:
        require_dag(lineage, dag, visible)
    rows = []
    for job in visible.visible_jobs(lineage):
        for dataset in map(lineage.dataset, job.outputs if dag in (None, job.dag_name) else ()):
            reading = [lineage.job(edge.job) for edge in lineage.readers(dataset.id)]
            readers = {each.name if visible.sees_job(each) else HIDDEN: None for each in reading}
            rows.append(
                DatasetRow(
                    name=dataset.name,
                    dag=job.dag_name,
                    job=job.name,
                    is_source=job.is_source,
                    partitioning=dimensions_text(lineage, dataset.id),
                    columns=None if dataset.columns is None else tuple(dataset.columns),
                    readers=tuple(readers),
                    version=dataset.version,
                    pause=pauses.of_dataset(dataset.name),
                )
            )
    return rows
