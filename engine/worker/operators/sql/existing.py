"""Existing partitions, without keys that a table's column cannot hold.

A single key of another type would fail every statement that compares the column with the set.
"""

from collections.abc import Iterator, Mapping

from psycopg import sql

from engine.model.task import Lease
from engine.partitions import KeySet, PartitionSet
from engine.partitions.boxes import Box
from engine.store.as_org import AsOrg
from engine.store.rows.partitions import PartitionKey
from engine.store.run import fetch
from engine.worker.operators.sql.column_conditions import array
from engine.worker.operators.sql.column_types import type_name
from engine.worker.operators.sql.shape import partition_columns
from engine.worker.operators.sql.tables import Table
from engine.worker.reading import existing_partitions, space_of

# The first statement suffices for most sets. DO returns no rows, so a setting returns the keys.
_FIND_IMPOSSIBLE = sql.SQL("""
DECLARE
    keys CONSTANT text[] := {keys};
    refused text[] := ARRAY[]::text[];
    key text;
BEGIN
    BEGIN
        PERFORM CAST(k AS {kind}) FROM unnest(keys) AS k;
    EXCEPTION WHEN OTHERS THEN
        FOREACH key IN ARRAY keys LOOP
            BEGIN
                PERFORM CAST(key AS {kind});
            EXCEPTION WHEN OTHERS THEN
                refused := array_append(refused, key);
            END;
        END LOOP;
    END;
    PERFORM set_config('knockon.refused', to_json(refused)::text, true);
END""")
_RUN_BLOCK = sql.SQL("DO {}")
_REFUSED = sql.SQL("SELECT current_setting('knockon.refused')::json AS keys")
_TEXT_TYPES = ("text", "character")
"""Starts of the names of types that hold any key."""


async def existing_inputs(
    org: AsOrg, lease: Lease, tables: Mapping[str, Table]
) -> dict[str, PartitionSet]:
    """Return the partitions of each input that existed at the claim, by alias."""
    existing = {alias: existing_partitions(lease, alias) for alias in tables}
    for alias, table in tables.items():
        if lease.inputs[alias].id not in lease.sources:
            existing[alias] = await possible(org, existing[alias], table)
    return existing


async def existing_now(org: AsOrg, lease: Lease, alias: str, table: Table) -> PartitionSet:
    """Load the partitions that exist now in the dataset version of the lease."""
    dataset = lease.inputs[alias]
    rows = await fetch(
        org.conn, "partitions.existing", PartitionKey, dataset=dataset.id, version=dataset.version
    )
    keys = space_of(dataset.partitioning).from_alike(row.key for row in rows)
    return await possible(org, keys, table)


async def possible(org: AsOrg, partitions: PartitionSet, table: Table) -> PartitionSet:
    """Leave out partitions with a key that the table's column cannot hold."""
    space = partitions.space
    for i, (column, _) in enumerate(partition_columns(space)):
        sets = (box[i] for box in partitions.boxes if isinstance(box[i], KeySet))
        keys = sorted(frozenset().union(*(s.keys for s in sets if s.is_finite)))
        if keys and not (kind := table.type_of(column)).startswith(_TEXT_TYPES):
            block = _FIND_IMPOSSIBLE.format(keys=array(keys), kind=type_name(kind))
            (row,) = await org.fetch(_RUN_BLOCK.format(block.as_string(org.conn)), _REFUSED)
            if row["keys"]:
                possible_keys = KeySet(frozenset(row["keys"]), complement=True)
                partitions = PartitionSet.of(space, _restricted(partitions, i, possible_keys))
    return partitions


def _restricted(partitions: PartitionSet, index: int, keys: KeySet) -> Iterator[Box]:
    for box in partitions.boxes:
        yield (*box[:index], box[index] & keys, *box[index + 1 :])
