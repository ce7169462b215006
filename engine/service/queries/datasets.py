"""Datasets in their current versions."""

from uuid import UUID

import msgspec

from engine.model.states import Activation, Role
from engine.service.caller import Caller, requires
from engine.service.queries.lineage import dimensions_text
from engine.service.service import Service


class DatasetRow(msgspec.Struct, frozen=True):
    """A dataset with its producer and the jobs that read it.

    ``columns`` are the declared columns; null if none are declared.
    """

    name: str
    dag: str
    job: str
    is_source: bool
    partitioning: str
    columns: tuple[str, ...] | None
    readers: tuple[str, ...]
    version: UUID


@requires(Role.READER)
async def datasets(caller: Caller, service: Service, dag: str | None = None) -> list[DatasetRow]:
    """List the datasets of all DAGs, or of one, each after the datasets upstream."""
    async with service.snapshot(caller) as (conn, org):
        lineage = await org.lineage(conn)
    rows = []
    for job in lineage.order:
        for dataset in map(lineage.dataset, job.outputs if dag in (None, job.dag_name) else ()):
            readers = {lineage.job(edge.job).name: None for edge in lineage.readers(dataset.id)}
            rows.append(
                DatasetRow(
                    name=dataset.name,
                    dag=job.dag_name,
                    job=job.name,
                    is_source=job.activation == Activation.SOURCE,
                    partitioning=dimensions_text(lineage, dataset.id),
                    columns=None if dataset.columns is None else tuple(dataset.columns),
                    readers=tuple(readers),
                    version=dataset.version,
                )
            )
    return rows
