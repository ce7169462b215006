"""Deploy DAGs."""

from collections.abc import Sequence

from psycopg.errors import DeadlockDetected

from engine.flow.deployment import deploy as deployment
from engine.model.dag import DagFile
from engine.model.states import Role
from engine.retries import retrying
from engine.service.caller import Caller, requires
from engine.service.queries.deploys import Deploy, Deployment, view_of
from engine.service.service import Service

__all__ = ["Deploy", "Deployment", "deploy"]

_ATTEMPTS = 5


@requires(Role.WRITER)
async def deploy(caller: Caller, service: Service, dags: Sequence[DagFile]) -> Deploy:
    """Deploy DAGs together; unchanged content has no effect. Raises InvalidDag.

    A deploy that exceeds a limit is left pending approval.

    A deploy locks tasks of several DAGs, so that no order of locks excludes a deadlock with
    completions. A deploy chosen as the victim starts again.
    """
    async for attempt in retrying(_is_deadlock, attempts=_ATTEMPTS):
        with attempt:
            async with service.transaction(caller) as (conn, org):
                deployed = await deployment.deploy(conn, org, dags, caller.user, is_limited=True)
    return view_of(deployed)


def _is_deadlock(error: BaseException) -> bool:
    return isinstance(error, DeadlockDetected)
