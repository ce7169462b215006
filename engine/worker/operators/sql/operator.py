"""The sql operator: run a job's SELECT in Knockon's database.

The written data and the completion of the task commit in one transaction, and only while the
task's lease is valid.
"""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

import msgspec
import psycopg

from engine.errors import TaskFailed
from engine.flow.deployment.sql_code import check_sql_code
from engine.flow.execution.complete import complete
from engine.flow.execution.write_permission import check_target
from engine.flow.execution.written_tables import check_written
from engine.model.dataset import Dataset
from engine.model.tables import TableName
from engine.model.task import Completion, Lease, Output
from engine.store.as_org import AsOrg
from engine.store.database import Connection, reconnecting
from engine.store.failures import full_text
from engine.store.outages import is_transient
from engine.worker.context import Context, Result
from engine.worker.operators.sql.existing import existing_inputs
from engine.worker.operators.sql.follow import follow
from engine.worker.operators.sql.inputs import input_tables, selected_columns, session, units
from engine.worker.operators.sql.output import output_table
from engine.worker.operators.sql.own_table import prepare_own_table
from engine.worker.operators.sql.queries import queries_of
from engine.worker.operators.sql.reads import common_tables
from engine.worker.operators.sql.rights import check_rights
from engine.worker.operators.sql.shape import Shape, shape_of
from engine.worker.operators.sql.statement import Writing
from engine.worker.operators.sql.tables import Table, describe, physical_name
from engine.worker.operators.sql.whole import write_whole
from engine.worker.operators.sql.write import write
from engine.worker.reading import space_of

Tables = Mapping[tuple[str, str], Table]
_Columns = Mapping[str, list[tuple[str, str]]]
"""Names and types of the columns of each input, in order."""


class Sql:
    """Run SELECTs.

    The shapes of outputs are cached by job, together with the columns of the job's inputs: deployed
    jobs never change, but the tables of their inputs do.
    """

    def __init__(self) -> None:
        self._shapes: dict[tuple[UUID, UUID], tuple[_Columns, Shape]] = {}
        self._permitted: set[UUID] = set()

    async def run(self, context: Context) -> Result:
        """Compute the partitions and complete the task. Raises TaskFailed, InvalidInput, LeaseLost.

        An outage rolls the transaction back, after which it is retried.
        """
        work = partial(self._transaction, context, queries_of(context.lease))
        try:
            return await reconnecting(work, what=f"sql task {context.lease.task_id}")
        except psycopg.Error as error:
            if is_transient(error):
                raise
            self._permitted.discard(context.lease.job.id)
            reason = full_text(error)
            raise TaskFailed(f"the database refused the job's SELECT: {reason}") from error

    async def _transaction(self, context: Context, queries: Mapping[str, str]) -> Result:
        lease = context.lease
        async with context.database.foreign_transaction() as conn:
            await _check_code(conn, lease, queries)
            tables = await describe(
                conn, map(physical_name, (*lease.inputs.values(), *lease.outputs))
            )
            org = await self._org(conn, context, tables)
            lineage = await context.org.lineage(conn)
            select, unit = queries[lease.outputs[0].name], next(units(lease))
            tables |= await prepare_own_table(org, lineage, lease, select, tables, unit)
            inputs = input_tables(lease, tables)
            partitions = await existing_inputs(org, lease, inputs)
            followed = await follow(org, lease, inputs, partitions)
            parts = [
                (unit, common_tables(lease, inputs, partitions, unit, followed))
                for unit in units(lease)
            ]
            outputs: list[Output] = []
            for dataset in lease.outputs:
                select = queries[dataset.name]
                shape = await self._shape(org, lease, dataset, select, inputs)
                existing = tables.get(physical_name(dataset))
                table = await output_table(org, lineage, lease.job, dataset, shape, existing)
                for unit, common in parts:
                    writing = Writing(lease.job, dataset, table, shape, select, unit, common)
                    outputs += await _write(org, lease, writing)
            await _check_written(org, context)
            cursors = followed.cursors if followed else {}
            result = Result(tuple(outputs), cursors, is_recorded=True)
            await complete(conn, context.org, Completion(lease, result.outputs, cursors))
        self._permitted.add(lease.job.id)
        return result

    async def _org(self, conn: Connection, context: Context, tables: Tables) -> AsOrg:
        """Return a session with the org's rights, checked before the first run of each job."""
        lease, org_id = context.lease, context.org.id
        if lease.job.id not in self._permitted:
            await check_rights(conn, org_id, lease, tables)
        return session(conn, org_id, lease)

    async def _shape(
        self,
        org: AsOrg,
        lease: Lease,
        dataset: Dataset,
        select: str,
        inputs: Mapping[str, Table],
    ) -> Shape:
        key = lease.job.id, dataset.id
        read = {alias: list(table.columns.items()) for alias, table in inputs.items()}
        cached, shape = self._shapes.get(key, (None, None))
        if shape is None or cached != read:
            columns = await selected_columns(org, lease, select, inputs)
            shape = shape_of(columns, space_of(dataset.partitioning))
            self._shapes[key] = read, shape
        return shape


async def _check_code(conn: Connection, lease: Lease, queries: Mapping[str, str]) -> None:
    if lease.job.code is None:
        return
    code = msgspec.json.decode(lease.job.code, type=dict[str, str])
    read = [TableName(*physical_name(dataset)) for dataset in lease.inputs.values()]
    await check_sql_code(conn, code, queries.values(), read)


async def _check_written(org: AsOrg, context: Context) -> None:
    """Check the output tables again, now that locks of the writes prevent their alteration."""
    outputs = context.lease.outputs
    names = {physical_name(dataset): dataset for dataset in outputs}
    for name, table in (await describe(org.conn, names)).items():
        await check_target(org.conn, org.org_id, names[name], table.relation)
    await check_written(org, context.database, outputs, names.keys())


async def _write(org: AsOrg, lease: Lease, writing: Writing) -> list[Output]:
    if lease.job.is_single_run and writing.unit.partitions.space.dimensions:
        return await write_whole(org, writing, lease.partitions)
    return [await write(org, writing)]
