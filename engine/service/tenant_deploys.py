"""What members of an org may deploy without an operator.

`python` and `shell` jobs run code in workers that may serve other orgs; topics, schema registries
and secrets belong to the installation. An operator deploys them, or declares the org as trusted.
"""

from collections.abc import Iterator, Sequence

from engine.errors import Forbidden
from engine.flow.shared.org_context import OrgContext
from engine.model.dag import DagFile, JobSpec
from engine.model.dag_sources import KafkaSource, MessageSource
from engine.model.references import PREFIX, REFERENCE
from engine.service.caller import Caller
from engine.store.database import Connection
from engine.store.orgs import settings

_CODE = ("python", "shell")
_OWN_WORKERS = "external"


async def require_permitted(
    conn: Connection, org: OrgContext, caller: Caller, dags: Sequence[DagFile]
) -> None:
    """Raise Forbidden if the caller may not deploy one of the jobs."""
    if caller.is_operator or (await settings(conn, org.id)).trusted:
        return
    for dag in dags:
        for job in dag.jobs:
            for what in _beyond(job, caller.org.slug):
                raise Forbidden(
                    f"job {job.name!r} {what}, which members of the org may not deploy: have an "
                    f"operator deploy the DAG, or run 'knockon org set trusted on --org "
                    f"{caller.org.slug}'"
                )


def _beyond(job: JobSpec, slug: str) -> Iterator[str]:
    """Yield what a job uses beyond its org."""
    if job.operator in _CODE and job.activation != "source" and job.runtime != _OWN_WORKERS:
        yield f"runs code of the operator {job.operator!r} in a worker of the installation"
    if isinstance(job.source, KafkaSource):
        yield "reads a topic of the installation's broker"
    if isinstance(job.source, MessageSource) and job.source.registry:
        yield "reads a schema registry"
    own = f"{slug.upper().replace('-', '_')}__"
    for name in REFERENCE.findall(job.model_dump_json()):
        if not name.startswith(own):
            yield f"uses the secret {PREFIX}{name}, whose name does not begin with {PREFIX}{own}"
