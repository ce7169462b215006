"""Register discovered datasets as sources of a separate DAG.

This DAG is like any other: each dataset has a source job, and every registration deploys the DAG.
DAG files are never modified, and deploys of other DAGs preserve the registered datasets.
"""

from collections.abc import Sequence

import msgspec
import structlog

from engine.errors import InvalidDag
from engine.flow.deployment.current_versions import load_current_versions
from engine.flow.deployment.deploy import deploy
from engine.flow.shared.org_context import OrgContext
from engine.lineage.compiled import CompiledDag, CompiledDataset
from engine.model.dag import DagFile, JobSpec
from engine.model.dag_sources import KafkaSource
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
    try:
        jobs = _jobs(current[dag].compiled) if dag in current else []
        new = {
            item.dataset: item.job for item in discovered[::-1] if item.dataset not in names_in_use
        }
        jobs += [*new.values()][: max(MAX_DATASETS - len(jobs), 0)]
        if new:
            await deploy(conn, org, DagFile(dag=dag, jobs=tuple(jobs)))
    except InvalidDag as error:
        _log.error("discovered datasets cannot be registered", dag=dag, why=str(error))
        return []
    keys = {_key(job) for job in jobs}
    registered = [item for item in discovered if _key(item.job) in keys]
    left_out = {item.dataset for item in discovered} - {item.dataset for item in registered}
    if left_out:
        _log.error(
            "discovered datasets are not registered: the name is taken, or the DAG is full",
            dag=dag,
            datasets=sorted(left_out),
        )
    return registered


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
    if not isinstance(job.source, KafkaSource):
        return None
    return job.outputs[0].dataset, job.source.namespace, job.source.name
