"""Check that all source tables are attached and unchanged since."""

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection

from consumers.postgres.attachments import stored_attachments
from consumers.postgres.drift_monitor import find_drifted
from consumers.postgres.readers import legacy_datasets
from consumers.postgres.schema import is_current
from engine.service.checks.check import Check, CheckVerdict
from engine.wording import some

_REPAIR = "the consumer attaches it again if permitted; otherwise run 'knockon attach'"


async def check_attachments(
    source: AsyncConnection[Any], org: str, tables: Mapping[str, str]
) -> Check:
    """Compare the tables in DAG files with attached tables. Raises psycopg's errors."""
    if not await is_current(source):
        remedy = "start 'knockon consume' as a role that owns the change log, or attach again"
        return Check("tables", CheckVerdict.FAIL, "the change log is of an earlier version", remedy)
    if drifted := await find_drifted(source, org):
        return Check(
            "tables", CheckVerdict.FAIL, "; ".join(table.report for table in drifted), _REPAIR
        )
    attached = {row.dataset for row in await stored_attachments(source, org)}
    names = {table: name for table, name in tables.items() if name not in attached}
    legacy = set(await legacy_datasets(source)) & set(names.values())
    if legacy:
        detail = (
            f"captured by an earlier version, as the role that attached: {some(sorted(legacy))}"
        )
        return Check(
            "tables", CheckVerdict.FAIL, detail, "attach again: knockon attach TABLE --dataset NAME"
        )
    if names:
        detail = f"not attached: {some(sorted(names))}"
        return Check(
            "tables", CheckVerdict.WARN, detail, "attach them: knockon attach TABLE --dataset NAME"
        )
    return Check("tables", CheckVerdict.OK, f"{some(sorted(tables))} attached")
