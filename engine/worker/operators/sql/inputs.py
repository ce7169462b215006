"""Input tables of a run, the columns of its SELECT over them, and the units that it computes."""

from collections.abc import Iterator, Mapping
from uuid import UUID

import psycopg

from engine.errors import TaskFailed
from engine.model.dataset import Dataset
from engine.model.task import Lease
from engine.partitions import TimeDimension
from engine.store.as_org import AsOrg
from engine.store.database import Connection
from engine.worker.operators.sql.probe import probe
from engine.worker.operators.sql.reads import Unit
from engine.worker.operators.sql.tables import Table, physical_name
from engine.worker.reading import space_of


def input_tables(lease: Lease, tables: Mapping[tuple[str, str], Table]) -> dict[str, Table]:
    """Return the tables of the inputs by alias.

    An input that only triggers runs, such as a schedule, needs no table. Raises TaskFailed if the
    followed input has none.
    """
    names = {alias: physical_name(dataset) for alias, dataset in lease.inputs.items()}
    for entry in lease.job.inputs:
        if entry.cursor is not None and names[entry.alias] not in tables:
            raise missing_table(lease.inputs[entry.alias])
    return {alias: tables[name] for alias, name in names.items() if name in tables}


async def selected_columns(
    org: AsOrg, lease: Lease, select: str, inputs: Mapping[str, Table]
) -> Mapping[str, str]:
    """Return the types of the SELECT's columns. Raises TaskFailed if an input has no table."""
    try:
        return await probe(org, select, inputs, next(units(lease)))
    except psycopg.errors.UndefinedTable as error:
        for alias, dataset in lease.inputs.items():
            if alias not in inputs and f'"{alias}"' in (error.diag.message_primary or ""):
                raise missing_table(dataset) from error
        raise


def units(lease: Lease) -> Iterator[Unit]:
    """Yield a unit for each partition, or a single unit if one run computes all partitions."""
    space = space_of(lease.outputs[0].partitioning)
    if lease.job.is_single_run:
        yield Unit("*", space.universe)
        return
    for key in lease.partitions:
        yield Unit(key, space.parse(key))


def _zone_of(lease: Lease) -> str:
    """Return the time zone for dates in the SELECT: the output's, else an input's, else UTC."""
    for dataset in (*lease.outputs, *lease.inputs.values()):
        for _, dimension in space_of(dataset.partitioning).dimensions:
            if isinstance(dimension, TimeDimension):
                return dimension.zone
    return "UTC"


def session(conn: Connection, org_id: UUID, lease: Lease) -> AsOrg:
    """Return a session with the rights of an org, for the SELECT of a lease."""
    return AsOrg(conn, org_id, _zone_of(lease), lease.job.timeout_seconds or 0)


def missing_table(dataset: Dataset) -> TaskFailed:
    """Return the error of a dataset without a table."""
    return TaskFailed(
        f"there is no table {'.'.join(physical_name(dataset))} for dataset {dataset.name!r}: "
        "create it, or correct the dataset's storage.table"
    )
