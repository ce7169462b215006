"""Register discovered datasets as sources of a separate DAG.

This DAG is like any other: each dataset has a source job, and every registration deploys the DAG.
DAG files are never modified, and deploys of other DAGs preserve the registered datasets.
"""

from collections.abc import Sequence

import msgspec
import structlog

from engine.errors import InvalidDag
from engine.flow.deployment.changes import find_changes
from engine.flow.deployment.current_versions import load_current_versions
from engine.flow.deployment.deploy import deploy
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag, CompiledDataset
from engine.model.dag import DagFile, JobSpec
from engine.model.dag_sources import MessageSource
from engine.model.discovery import DiscoveredDataset
from engine.model.states import Activation
from engine.store.database import Connection
from engine.store.orgs import lock_planning

_log = structlog.get_logger(__name__)
MAX_DATASETS = 1_000
"""Limit of datasets in one DAG, so that an overly broad rule cannot fill the org."""


async def auto_register(
    conn: Connection, org: OrgContext, discovered: Sequence[DiscoveredDataset]
) -> list[DiscoveredDataset]:
    """Register discovered datasets; return those registered under the same name, now or earlier.

    Datasets that cannot be registered are logged, raise no error, and stay unbound.
    """
    async with conn.transaction():
        await lock_planning(conn, org.id)
        registered: list[DiscoveredDataset] = []
        for dag in sorted({dataset.dag for dataset in discovered}):
            of_dag = [dataset for dataset in discovered if dataset.dag == dag]
            registered += await _deploy_sources(conn, org, dag, of_dag)
    return registered


async def _deploy_sources(
    conn: Connection, org: OrgContext, dag: str, discovered: list[DiscoveredDataset]
) -> list[DiscoveredDataset]:
    current = await load_current_versions(conn, org.id)
    names_in_use = {
        dataset.name for version in current.values() for dataset in version.compiled.datasets
    }
    new = {item.dataset: item.job for item in discovered[::-1] if item.dataset not in names_in_use}
    try:
        earlier = _jobs(current[dag].compiled) if dag in current else []
        jobs = await _extended(conn, org, dag, earlier, [*new.values()])
        if len(jobs) > len(earlier):
            await deploy(conn, org, [DagFile(dag=dag, jobs=tuple(jobs))])
    except InvalidDag as error:
        _log.error("discovered datasets cannot be registered", dag=dag, why=str(error))
        return []
    keys = {_key(job) for job in jobs}
    registered = [item for item in discovered if _key(item.job) in keys]
    left_out = {item.dataset for item in discovered} - {item.dataset for item in registered}
    if left_out:
        _log.error(
            "discovered datasets are not registered: invalid, name taken, or DAG full",
            dag=dag,
            datasets=sorted(left_out),
        )
    return registered


async def _extended(
    conn: Connection, org: OrgContext, dag: str, jobs: Sequence[JobSpec], new: Sequence[JobSpec]
) -> list[JobSpec]:
    """Return the jobs of a DAG with as many of the new sources as are valid and have room."""
    extended = [*jobs]
    while new and (room := MAX_DATASETS - len(extended)) > 0:
        extended += await _valid(conn, org, dag, extended, new[:room])
        new = new[room:]
    return extended


async def _valid(
    conn: Connection, org: OrgContext, dag: str, jobs: Sequence[JobSpec], new: Sequence[JobSpec]
) -> list[JobSpec]:
    """Return the new sources that can be added to the jobs of a DAG; log the others.

    Halves the sources until the others are isolated.
    """
    try:
        async with conn.transaction():
            await find_changes(conn, org, [DagFile(dag=dag, jobs=(*jobs, *new))])
        return [*new]
    except InvalidDag as error:
        if len(new) == 1:
            dataset = new[0].outputs[0].dataset
            _log.error(
                "discovered dataset cannot be registered", dag=dag, dataset=dataset, why=str(error)
            )
            return []
    middle = len(new) // 2
    first = await _valid(conn, org, dag, jobs, new[:middle])
    return first + await _valid(conn, org, dag, [*jobs, *first], new[middle:])


def _jobs(dag: CompiledDag) -> list[JobSpec]:
    """Return the source jobs of a DAG in DAG file form. Raises InvalidDag if other jobs exist."""
    if any(job.activation != Activation.SOURCE for job in dag.jobs):
        raise InvalidDag(
            f"DAG {dag.name!r} has jobs that run: name a DAG in `discover` that has only sources"
        )
    datasets = {dataset.name: dataset for dataset in dag.datasets}
    return [
        JobSpec.model_validate(
            {
                "name": job.name,
                "description": job.description,
                "activation": "source",
                "source": job.source,
                "outputs": [_output(datasets[name]) for name in job.outputs],
            }
        )
        for job in dag.jobs
    ]


def _output(dataset: CompiledDataset) -> dict[str, object]:
    return {
        "dataset": dataset.name,
        "storage": dataset.storage,
        "partitioning": msgspec.json.decode(dataset.partitioning),
        "columns": None if dataset.columns is None else list(dataset.columns),
        "read_roles": dataset.read_roles,
    }


def _key(job: JobSpec) -> tuple[str, str | None, str | None] | None:
    """Return the Knockon dataset name, and the namespace and name in the reporting system."""
    if not isinstance(job.source, MessageSource):
        return None
    return job.outputs[0].dataset, job.source.namespace, job.source.name
