"""One planned change: duration of the pure planner, duration of the rest, and COPY's limit."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from uuid import UUID

from consumers.manual import invalidate
from engine.flow.planning.plan import plan
from engine.flow.shared.org_context import OrgContext
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.event import SourceEvent
from engine.model.invalidation import Invalidation
from engine.planner import lookup_in
from engine.planner import plan as pure_plan
from engine.store.database import Connection

_WRITTEN = {
    "tasks": "SELECT * FROM tasks WHERE plan_ids @> ARRAY['{plan}'::uuid]",
    "task_dependencies": "SELECT d.* FROM task_dependencies d JOIN tasks t ON t.id = d.task_id"
    " WHERE t.plan_ids @> ARRAY['{plan}'::uuid]",
}


@dataclass(slots=True)
class Planning:
    """Samples in seconds; ``emitted`` is the plan's transaction without the pure planning."""

    tasks: int = 0
    pure: list[float] = field(default_factory=list)
    emitted: list[float] = field(default_factory=list)
    copied: list[float] = field(default_factory=list)


async def measure(
    conn: Connection, org: OrgContext, dataset: Dataset, days: Sequence[str]
) -> Planning:
    """Change one partition of a dataset on each of these days, and plan it."""
    for table in _WRITTEN:
        await conn.execute(f"CREATE TABLE ceiling_{table} (LIKE {table} INCLUDING ALL)".encode())
    lineage = await org.lineage(conn)
    found = Planning()
    await _measure_one(conn, org, lineage, dataset, "2013-12-31", Planning())  # warms up
    for day in days:
        await _measure_one(conn, org, lineage, dataset, day, found)
    return found


def pure_seconds(lineage: Lineage, dataset: Dataset, day: str) -> float:
    """Duration of the planner for one partition."""
    changed = Invalidation(UUID(int=1), dataset.id, dataset.version, "change", day)
    start = perf_counter()
    pure_plan(lineage, [changed], lookup_in({}), datetime.now(UTC))
    return perf_counter() - start


async def _measure_one(
    conn: Connection, org: OrgContext, lineage: Lineage, dataset: Dataset, day: str, found: Planning
) -> None:
    pure = pure_seconds(lineage, dataset, day)
    await invalidate(conn, org, SourceEvent(dataset=dataset.name, partitions=(day,)))
    start = perf_counter()
    planned = await plan(conn, org)
    whole = perf_counter() - start
    assert planned is not None
    found.tasks = planned.tasks
    found.pure.append(pure)
    found.emitted.append(whole - pure)
    found.copied.append(await _copy_again(conn, planned.plan_id))


async def _copy_again(conn: Connection, plan_id: UUID) -> float:
    """Seconds of a COPY of a plan's rows, into tables with the same indexes."""
    rows = {table: await _dump(conn, table, plan_id) for table in _WRITTEN}
    start = perf_counter()
    async with conn.transaction(), conn.cursor() as cursor:
        for table, data in rows.items():
            async with cursor.copy(f"COPY ceiling_{table} FROM STDIN".encode()) as copy:
                await copy.write(data)
    return perf_counter() - start


async def _dump(conn: Connection, table: str, plan_id: UUID) -> bytes:
    select = _WRITTEN[table].format(plan=plan_id)
    async with conn.cursor() as cursor, cursor.copy(f"COPY ({select}) TO STDOUT".encode()) as copy:
        return b"".join([bytes(block) async for block in copy])
