"""The table of a job that reads its own earlier partitions, created before the first run reads it.

The types of the columns depend on a SELECT that reads the same columns. They are determined from
assumed types: those of columns with the same name in other inputs, and numeric for others.
"""

from collections.abc import Mapping

import psycopg

from engine.errors import TaskFailed
from engine.lineage.graph import Lineage
from engine.model.dataset import Dataset
from engine.model.task import Lease
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.inputs import input_tables
from engine.worker.operators.sql.output import is_current, output_table
from engine.worker.operators.sql.probe import probe
from engine.worker.operators.sql.reads import Unit
from engine.worker.operators.sql.shape import Shape, shape_of
from engine.worker.operators.sql.tables import Table, physical_name
from engine.worker.reading import space_of

_MOST_PROBES = 5
"""Limit on the repetitions until the assumed types are those of the result."""


async def prepare_own_table(
    org: AsOrg,
    lineage: Lineage,
    lease: Lease,
    select: str,
    tables: Mapping[tuple[str, str], Table],
    unit: Unit,
) -> dict[tuple[str, str], Table]:
    """Return the table of the job's own output that it reads; none if there is nothing to prepare.

    Raises TaskFailed if the types of its columns cannot be determined.
    """
    (output, *_) = lease.outputs
    alias = next((a for a, read in lease.inputs.items() if read.id == output.id), None)
    name = physical_name(output)
    existing = tables.get(name)
    if alias is None or (existing is not None and is_current(existing, output)):
        return {}
    inputs = input_tables(lease, tables)
    inputs.pop(alias, None)
    shape = await _shape(org, output, alias, select, inputs, unit)
    return {name: await output_table(org, lineage, lease.job, output, shape, existing)}


async def _shape(
    org: AsOrg,
    output: Dataset,
    alias: str,
    select: str,
    inputs: Mapping[str, Table],
    unit: Unit,
) -> Shape:
    types = {name: kind for table in inputs.values() for name, kind in table.columns.items()}
    assumed = {name: types.get(name, "numeric") for name in output.columns or ()}
    space = space_of(output.partitioning)
    assumed |= shape_of({}, space).added if not assumed else {}
    for _ in range(_MOST_PROBES):
        try:
            selected = await probe(org, select, inputs, unit, {alias: assumed})
        except (psycopg.ProgrammingError, psycopg.DataError) as error:
            raise _undetermined(output, alias, str(error.diag.message_primary)) from error
        shape = shape_of(selected, space)
        if dict(shape.columns) == assumed:
            return shape
        assumed = dict(shape.columns)
    raise _undetermined(output, alias, "they depend on each other")


def _undetermined(output: Dataset, alias: str, reason: str) -> TaskFailed:
    return TaskFailed(
        f"the types of the columns of {output.name!r}, which the job reads itself, cannot be "
        f"determined before its first run ({reason}): cast the columns read from {alias!r} to "
        "their types, or create the table and adopt it"
    )
