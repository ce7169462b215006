"""Writing an output whose partitions are made all in one go, by `Full` and `PerUpdate` jobs.

The SELECT gives the partition columns; which partitions there are is read off its rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from psycopg import sql

from engine.model.task import Output
from engine.store.as_org import AsOrg
from engine.worker.operators.sql.difference import changed_columns
from engine.worker.operators.sql.parts import key_of, part_of
from engine.worker.operators.sql.statement import Writing
from engine.worker.reading import space_of

_REPLACE = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_is AS MATERIALIZED (
    SELECT {part} AS part, count(*) AS rows, sum(hashtextextended({row}::text, 0)) AS hash,
           sum(pg_column_size({row}))::bigint AS bytes,
           count(*) FILTER (WHERE ({within}) IS NOT TRUE) AS strays
    FROM knockon_new AS t GROUP BY 1),
knockon_was AS MATERIALIZED (
    SELECT {part} AS part, count(*) AS rows, sum(hashtextextended({row}::text, 0)) AS hash
    FROM {table} AS t WHERE {within} GROUP BY 1),
knockon_told AS MATERIALIZED (
    SELECT part, i.rows, w.rows AS old_rows, i.hash, i.bytes, i.strays,
           (i.rows, i.hash) IS DISTINCT FROM (w.rows, w.hash) AS differs
    FROM knockon_is AS i FULL JOIN knockon_was AS w USING (part)),
{same},
knockon_gone AS (
    DELETE FROM {table} AS t
    WHERE ({within}) AND {part} IN (SELECT part FROM knockon_told WHERE differs) RETURNING 1),
knockon_put AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM knockon_new AS t
    WHERE {part} IN (SELECT part FROM knockon_told WHERE differs)
        -- asking for the deleted rows has them deleted first
        AND (SELECT count(*) FROM knockon_gone) IS NOT NULL)
SELECT part, rows, hash, bytes, strays, differs, alike
FROM knockon_told LEFT JOIN knockon_same USING (part)""")

_APPEND = sql.SQL("""WITH {common},
knockon_new AS MATERIALIZED (SELECT {values} FROM ({select}) AS q),
knockon_left AS MATERIALIZED (
    SELECT {part} AS part FROM {table} AS t JOIN knockon_new AS n USING ({key})
    WHERE {part} <> {new_part}),
knockon_put AS (
    INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM knockon_new
    ON CONFLICT ({key}) DO {upsert}
    RETURNING {part} AS part)
SELECT (SELECT count(*) FROM knockon_new WHERE ({within}) IS NOT TRUE) AS strays,
       ARRAY(SELECT part FROM knockon_put UNION SELECT part FROM knockon_left) AS touched""")


@dataclass(slots=True)
class _Sum:
    """What a partition has come to; sums of hashes add up."""

    rows: int = 0
    hash: int = 0
    bytes: int = 0
    differs: bool = False
    alike: Sequence[bool] | None = None

    def add(self, told: dict[str, Any]) -> None:
        if told["differs"]:
            self.alike = told["alike"] if not self.differs else None
        self.rows += told["rows"] or 0
        self.hash += int(told["hash"] or 0)
        self.bytes += told["bytes"] or 0
        self.differs |= told["differs"]


async def write_whole(org: AsOrg, writing: Writing, expected: Sequence[str]) -> list[Output]:
    """Make all partitions of the output; says of each, and of the expected ones, how it came out.

    Raises TaskFailed, and psycopg's errors.
    """
    append = writing.job.update_strategy == "append"
    return await (_append if append else _replace)(org, writing, expected)


async def _replace(org: AsOrg, writing: Writing, expected: Sequence[str]) -> list[Output]:
    space = space_of(writing.dataset.partitioning)
    sums: defaultdict[str, _Sum] = defaultdict(_Sum)
    part = part_of(space, writing.table, "t")
    for told in await writing.run(org, _REPLACE, part=part, same=writing.same(part)):
        sums[key_of(space, told["part"])].add(told)
    return [_output(writing, key, sums[key]) for key in dict.fromkeys((*sums, *expected))]


def _output(writing: Writing, key: str, found: _Sum) -> Output:
    text = f"{' '.join(writing.table.columns)} {found.rows} {found.hash}"
    return Output(
        writing.dataset.name,
        key,
        fingerprint=sha256(text.encode()).hexdigest()[:32],
        row_count=found.rows,
        bytes=found.bytes,
        changed=True if found.differs else None,
        changed_columns=changed_columns(writing.table.columns, found.alike),
    )


async def _append(org: AsOrg, writing: Writing, expected: Sequence[str]) -> list[Output]:
    space = space_of(writing.dataset.partitioning)
    part, new_part = (part_of(space, writing.table, alias) for alias in ("t", "n"))
    (told,) = await writing.run(org, _APPEND, part=part, new_part=new_part)
    touched = {key_of(space, each) for each in told["touched"]}
    return [
        Output(writing.dataset.name, key, changed=key in touched)
        for key in sorted(touched.union(expected))
    ]
