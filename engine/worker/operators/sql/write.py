"""Write one output partition: one statement runs the SELECT, compares and writes."""

from psycopg import sql

from engine.errors import InvalidOutput
from engine.model.states import UpdateStrategy
from engine.model.task import Output
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.difference import changed_columns
from engine.worker.operators.sql.statement import Writing, check_null_keys, row_of
from engine.worker.operators.sql.tables import Table

_REPLACE = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_compared AS MATERIALIZED (
    SELECT *, {part} AS part, new <> old AS differs FROM
        (SELECT {fingerprint} AS new, count(*) AS rows,
                coalesce(sum(pg_column_size({row})), 0)::bigint AS bytes,
                count(*) FILTER (WHERE ({within}) IS NOT TRUE) AS strays
         FROM knockon_new AS t) AS n,
        (SELECT {fingerprint} AS old, count(*) AS old_rows FROM {table} AS t WHERE {within}) AS o),
{same},
knockon_deleted AS (
    DELETE FROM {table} WHERE (SELECT differs FROM knockon_compared) AND ({within}) RETURNING 1),
knockon_inserted AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM knockon_new
    WHERE (SELECT differs FROM knockon_compared)
        -- this reference runs the DELETE before the INSERT
        AND (SELECT count(*) FROM knockon_deleted) IS NOT NULL)
SELECT new AS fingerprint, rows, bytes, strays, differs, alike
FROM knockon_compared LEFT JOIN knockon_same USING (part)""")

_APPEND = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_nulls AS MATERIALIZED (SELECT * FROM knockon_new WHERE {has_null_key}),
knockon_moved AS MATERIALIZED (
    SELECT 1 FROM (SELECT * FROM {table} WHERE ({within}) IS NOT TRUE) AS t
    JOIN knockon_new USING ({key})
    UNION ALL
    SELECT 1 FROM (SELECT * FROM {table} WHERE ({within}) IS NOT TRUE) AS t
    JOIN knockon_nulls AS n ON {same_key} WHERE EXISTS (SELECT FROM knockon_nulls)),
knockon_inserted AS (
    INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM knockon_new
    ON CONFLICT ({key}) DO {upsert}
    RETURNING {is_new} AS is_new)
SELECT (SELECT count(*) FROM knockon_new WHERE ({within}) IS NOT TRUE) AS strays,
       (SELECT count(*) FROM knockon_moved) AS moved,
       (SELECT count(*) FROM knockon_nulls) AS nulls,
       (SELECT count(*) FROM knockon_inserted) > 0 AS differs,
       NOT EXISTS (SELECT FROM knockon_inserted WHERE NOT is_new) AS only_added""")


async def write(org: AsOrg, writing: Writing) -> Output:
    """Write one partition of the output. Raises TaskFailed, and psycopg's errors."""
    append = writing.job.update_strategy == UpdateStrategy.APPEND
    return await (_append if append else _replace)(org, writing)


async def _replace(org: AsOrg, writing: Writing) -> Output:
    part = sql.Literal(1)
    (row,) = await writing.run(
        org,
        _REPLACE,
        fingerprint=_fingerprint(writing.table),
        part=part,
        same=writing.same(part),
    )
    return Output(
        writing.dataset.name,
        writing.unit.text,
        fingerprint=row["fingerprint"],
        row_count=row["rows"],
        bytes=row["bytes"],
        # For equal rows the stored fingerprint decides, so that a first run counts as a change.
        changed=True if row["differs"] else None,
        changed_columns=changed_columns(writing.table, row["alike"]),
    )


def _fingerprint(table: Table) -> sql.Composed:
    """Compose a hash independent of the order of rows, from their number and sum of hashes.

    Rows are hashed as text, since not every type has a hash function.
    """
    template = "md5(concat_ws(' ', {}, count(*), sum(hashtextextended({}::text, 0))))"
    return sql.SQL(template).format(table.signature, row_of(table.columns, "t"))


async def _append(org: AsOrg, writing: Writing) -> Output:
    (row,) = await writing.run(org, _APPEND)
    await check_null_keys(org, writing, row["nulls"])
    name, partition = writing.dataset.name, writing.unit.text
    if row["moved"]:
        raise InvalidOutput(
            f"{row['moved']} rows for partition {partition!r} of {name!r} have the unique key of "
            "rows in another partition: add the partition's columns to unique_key"
        )
    return Output(name, partition, changed=row["differs"], rows_only_added=row["only_added"])
