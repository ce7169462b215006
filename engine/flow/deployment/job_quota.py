"""The quota of the jobs of an org."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.errors import QuotaExceeded
from engine.flow.shared.org_context import OrgContext
from engine.store.database import Connection
from engine.store.orgs import settings


@asynccontextmanager
async def within_job_quota(conn: Connection, org: OrgContext) -> AsyncIterator[None]:
    """Check a deploy in the body. Raises QuotaExceeded if it adds jobs beyond the quota."""
    quota = (await settings(conn, org.id)).jobs
    if quota is None:
        yield
        return
    before = len((await org.lineage(conn)).order)
    yield
    after = len((await org.lineage(conn)).order)
    if after > max(quota, before):
        raise QuotaExceeded(
            f"the org would have {after:,} jobs, and its quota permits {quota:,}: undeploy others "
            "first, or have an operator raise the quota with 'knockon org set jobs'"
        )
