"""Writing one output partition: one statement that runs the SELECT, compares and writes."""

from psycopg import sql

from engine.errors import TaskFailed
from engine.model.task import Output
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.difference import changed_columns
from engine.worker.operators.sql.statement import Writing, row_of
from engine.worker.operators.sql.tables import Table

_REPLACE = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_told AS MATERIALIZED (
    SELECT *, {part} AS part, new <> old AS differs FROM
        (SELECT {fingerprint} AS new, count(*) AS rows,
                coalesce(sum(pg_column_size({row})), 0)::bigint AS bytes,
                count(*) FILTER (WHERE ({within}) IS NOT TRUE) AS strays
         FROM knockon_new AS t) AS n,
        (SELECT {fingerprint} AS old, count(*) AS old_rows FROM {table} AS t WHERE {within}) AS o),
{same},
knockon_gone AS (
    DELETE FROM {table} WHERE (SELECT differs FROM knockon_told) AND ({within}) RETURNING 1),
knockon_put AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM knockon_new
    WHERE (SELECT differs FROM knockon_told)
        -- asking for the deleted rows has them deleted first
        AND (SELECT count(*) FROM knockon_gone) IS NOT NULL)
SELECT new AS fingerprint, rows, bytes, strays, differs, alike
FROM knockon_told LEFT JOIN knockon_same USING (part)""")

_APPEND = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_moved AS MATERIALIZED (
    SELECT 1 FROM (SELECT * FROM {table} WHERE ({within}) IS NOT TRUE) AS t
    JOIN knockon_new USING ({key})),
knockon_put AS (
    INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM knockon_new
    ON CONFLICT ({key}) DO {upsert}
    RETURNING 1)
SELECT (SELECT count(*) FROM knockon_new WHERE ({within}) IS NOT TRUE) AS strays,
       (SELECT count(*) FROM knockon_moved) AS moved,
       (SELECT count(*) FROM knockon_put) > 0 AS differs""")


async def write(org: AsOrg, writing: Writing) -> Output:
    """Make one partition of the output. Raises TaskFailed, and psycopg's errors."""
    append = writing.job.update_strategy == "append"
    return await (_append if append else _replace)(org, writing)


async def _replace(org: AsOrg, writing: Writing) -> Output:
    part = sql.Literal(1)
    (told,) = await writing.run(
        org,
        _REPLACE,
        fingerprint=_fingerprint(writing.table),
        part=part,
        same=writing.same(part),
    )
    return Output(
        writing.dataset.name,
        writing.unit.text,
        fingerprint=told["fingerprint"],
        row_count=told["rows"],
        bytes=told["bytes"],
        # Equal to what was there, the stored fingerprint decides: a first run is a change.
        changed=True if told["differs"] else None,
        changed_columns=changed_columns(writing.table.columns, told["alike"]),
    )


def _fingerprint(table: Table) -> sql.Composed:
    """The same for the same rows in any order: their number, and the sum of their hashes.

    Rows go by their text, which every type has, though not every type can be hashed.
    """
    template = "md5(concat_ws(' ', {}, count(*), sum(hashtextextended({}::text, 0))))"
    return sql.SQL(template).format(" ".join(table.columns), row_of(table.columns, "t"))


async def _append(org: AsOrg, writing: Writing) -> Output:
    (told,) = await writing.run(org, _APPEND)
    name, partition = writing.dataset.name, writing.unit.text
    if told["moved"]:
        raise TaskFailed(
            f"{told['moved']} rows for partition {partition!r} of {name!r} have the unique key of "
            "rows in another partition: add the partition's columns to unique_key"
        )
    return Output(name, partition, changed=told["differs"])
