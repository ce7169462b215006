"""Register: datasets that are heard of for the first time become sources of a DAG of their own.

Such a DAG is like any other: each dataset is a source job, and every registration deploys it. So
nothing that somebody wrote is touched, and what is registered stays, whatever else is deployed.
"""

from collections.abc import Sequence

import msgspec
import structlog

from engine.errors import InvalidDag
from engine.flow.deploy import deploy
from engine.flow.scene import Scene
from engine.flow.serving import load_serving
from engine.lineage.compiled import CompiledDag, CompiledDataset
from engine.model.dag import DagFile, JobSpec, KafkaSource
from engine.model.heard import Heard
from engine.store.database import Connection
from engine.store.orgs import lock_planning

_log = structlog.get_logger(__name__)
MOST = 1_000
"""Datasets of one such DAG: a rule that is too wide must not fill the org."""


async def register(conn: Connection, scene: Scene, heard: Sequence[Heard]) -> list[Heard]:
    """Have datasets registered; gives those that are, now or before, by that very name there.

    Never raises for what was heard: who cannot be registered stays unknown, which is logged.
    """
    async with conn.transaction():
        await lock_planning(conn, scene.org_id)
        found: list[Heard] = []
        for dag in sorted({each.dag for each in heard}):
            found += await _into(conn, scene, dag, [each for each in heard if each.dag == dag])
    return found


async def _into(conn: Connection, scene: Scene, dag: str, heard: Sequence[Heard]) -> list[Heard]:
    serving = await load_serving(conn, scene.org_id)
    taken = {dataset.name for each in serving.values() for dataset in each.compiled.datasets}
    try:
        jobs = _jobs(serving[dag].compiled) if dag in serving else []
        new = {each.dataset: each.job for each in heard[::-1] if each.dataset not in taken}
        jobs += [*new.values()][: max(MOST - len(jobs), 0)]
        if new:
            await deploy(conn, scene, DagFile(dag=dag, jobs=tuple(jobs)))
    except InvalidDag as error:
        _log.error("datasets are not registered", dag=dag, why=str(error))
        return []
    there = {_key(job) for job in jobs}
    found = [each for each in heard if _key(each.job) in there]
    if refused := sorted({each.dataset for each in heard} - {each.dataset for each in found}):
        _log.error("datasets are not registered: taken, or too many", dag=dag, datasets=refused)
    return found


def _jobs(dag: CompiledDag) -> list[JobSpec]:
    """The jobs of a DAG of sources, as a file would have them. Raises InvalidDag."""
    if any(job.activation != "source" for job in dag.jobs):
        raise InvalidDag(
            f"DAG {dag.name!r} has jobs that run: name another in `discover`, for sources alone"
        )
    made = {each.name: each for each in dag.datasets}
    return [
        JobSpec.model_validate(
            {
                "name": job.name,
                "description": job.description,
                "activation": "source",
                "source": job.source,
                "outputs": [_output(made[name]) for name in job.outputs],
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
    """The dataset, with its namespace and name there."""
    if not isinstance(job.source, KafkaSource):
        return None
    return job.outputs[0].dataset, job.source.namespace, job.source.name
