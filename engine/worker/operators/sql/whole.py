"""Write all partitions of an output with one statement, for `Full` and `PerUpdate` jobs.

The rows of the SELECT, which must contain the partition columns, determine the partitions.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from psycopg import sql

from engine.model.states import UpdateStrategy
from engine.model.task import Output
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.difference import changed_columns
from engine.worker.operators.sql.parts import key_of, part_of
from engine.worker.operators.sql.statement import Writing, check_null_keys
from engine.worker.reading import space_of

_REPLACE = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_current AS MATERIALIZED (
    SELECT {part} AS part, count(*) AS rows, sum(hashtextextended({row}::text, 0)) AS hash,
           sum(pg_column_size({row}))::bigint AS bytes,
           count(*) FILTER (WHERE ({within}) IS NOT TRUE) AS strays
    FROM knockon_new AS t GROUP BY 1),
knockon_previous AS MATERIALIZED (
    SELECT {part} AS part, count(*) AS rows, sum(hashtextextended({row}::text, 0)) AS hash
    FROM {table} AS t WHERE {within} GROUP BY 1),
knockon_compared AS MATERIALIZED (
    SELECT part, i.rows, w.rows AS old_rows, i.hash, i.bytes, i.strays,
           (i.rows, i.hash) IS DISTINCT FROM (w.rows, w.hash) AS differs
    FROM knockon_current AS i FULL JOIN knockon_previous AS w USING (part)),
{same},
knockon_deleted AS (
    DELETE FROM {table} AS t
    WHERE ({within}) AND {part} IN (SELECT part FROM knockon_compared WHERE differs) RETURNING 1),
knockon_inserted AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM knockon_new AS t
    WHERE {part} IN (SELECT part FROM knockon_compared WHERE differs)
        -- this reference runs the DELETE before the INSERT
        AND (SELECT count(*) FROM knockon_deleted) IS NOT NULL)
SELECT part, rows, hash, bytes, strays, differs, alike
FROM knockon_compared LEFT JOIN knockon_same USING (part)""")

_APPEND = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_nulls AS MATERIALIZED (SELECT * FROM knockon_new WHERE {has_null_key}),
knockon_vacated AS MATERIALIZED (
    SELECT {part} AS part FROM {table} AS t JOIN knockon_new AS n USING ({key})
    WHERE {part} <> {new_part}
    UNION ALL
    SELECT {part} FROM {table} AS t JOIN knockon_nulls AS n ON {same_key}
    WHERE {part} <> {new_part} AND EXISTS (SELECT FROM knockon_nulls)),
knockon_inserted AS (
    INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM knockon_new
    ON CONFLICT ({key}) DO {upsert}
    RETURNING {part} AS part, {is_new} AS is_new)
SELECT (SELECT count(*) FROM knockon_new WHERE ({within}) IS NOT TRUE) AS strays,
       (SELECT count(*) FROM knockon_nulls) AS nulls,
       ARRAY(SELECT part FROM knockon_inserted
             UNION SELECT part FROM knockon_vacated) AS touched,
       ARRAY(SELECT part FROM knockon_inserted WHERE NOT is_new
             UNION SELECT part FROM knockon_vacated) AS updated""")


@dataclass(slots=True)
class _Sum:
    """Totals of a partition over several parts; sums of hashes are additive."""

    rows: int = 0
    hash: int = 0
    bytes: int = 0
    differs: bool = False
    alike: Sequence[bool] | None = None

    def add(self, part: dict[str, Any]) -> None:
        if part["differs"]:
            self.alike = part["alike"] if not self.differs else None
        self.rows += part["rows"] or 0
        self.hash += int(part["hash"] or 0)
        self.bytes += part["bytes"] or 0
        self.differs |= part["differs"]


async def write_whole(org: AsOrg, writing: Writing, expected: Sequence[str]) -> list[Output]:
    """Write all partitions of the output; return a result for each, and for each expected one.

    Raises TaskFailed, and psycopg's errors.
    """
    append = writing.job.update_strategy == UpdateStrategy.APPEND
    return await (_append if append else _replace)(org, writing, expected)


async def _replace(org: AsOrg, writing: Writing, expected: Sequence[str]) -> list[Output]:
    space = space_of(writing.dataset.partitioning)
    sums: defaultdict[str, _Sum] = defaultdict(_Sum)
    part = part_of(space, writing.table, "t")
    for row in await writing.run(org, _REPLACE, part=part, same=writing.same(part)):
        sums[key_of(space, row["part"])].add(row)
    return [_output(writing, key, sums[key]) for key in dict.fromkeys((*sums, *expected))]


def _output(writing: Writing, key: str, total: _Sum) -> Output:
    text = f"{writing.table.signature} {total.rows} {total.hash}"
    return Output(
        writing.dataset.name,
        key,
        fingerprint=sha256(text.encode()).hexdigest()[:32],
        row_count=total.rows,
        bytes=total.bytes,
        changed=True if total.differs else None,
        changed_columns=changed_columns(writing.table, total.alike),
    )


async def _append(org: AsOrg, writing: Writing, expected: Sequence[str]) -> list[Output]:
    space = space_of(writing.dataset.partitioning)
    part, new_part = (part_of(space, writing.table, alias) for alias in ("t", "n"))
    (row,) = await writing.run(org, _APPEND, part=part, new_part=new_part)
    await check_null_keys(org, writing, row["nulls"])
    touched, updated = (
        {key_of(space, value) for value in row[name]} for name in ("touched", "updated")
    )
    name = writing.dataset.name
    return [
        Output(name, key, changed=key in touched, rows_only_added=key not in updated)
        for key in sorted(touched.union(expected))
    ]
