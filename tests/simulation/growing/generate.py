"""Worlds of growing tables: `PerUpdate` and `append` jobs of the SQL operator, in a chain.

Each SELECT returns one row per row or group of its input, so that rows never leave an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support.workers import sql_job
from tests.support.worlds import source

DAYS = ("2013-02-11", "2013-02-12", "2013-02-13")
DAILY = {"dt": {"time": "day", "start": "2013-02-11", "end": "2013-02-14"}}
TABLES = (
    "CREATE TABLE s (id bigint, seq bigint, k text, x int, y int, dt date)",
    "CREATE TABLE l (k text, v int)",
)
"""A growing source, and a lookup table of values by key."""

COLUMNS = {"a": "id, k, x, dt", "b": "id, k, x, dt", "t": "k, x", "c": "k, x", "z": "n, x"}
"""The columns of each output, the first of which identifies a row."""


@dataclass(frozen=True)
class GrowingWorld:
    """The jobs of a world, and the SELECT of each output in topological order."""

    jobs: tuple[dict[str, Any], ...]
    selects: Mapping[str, str]


def growing_world(seed: int) -> GrowingWorld:
    """Generate a world from a seed."""
    rng = Random(f"growing world {seed}")
    is_daily = rng.random() < 0.6
    by_day = DAILY if is_daily else {}
    declared = {} if rng.random() < 0.5 else {"columns": ["id", "seq", "k", "x", "y", "dt"]}
    selects = {"a": _first(rng)}
    jobs = [
        _source("s", by_day, declared),
        _source("l", {}, {}),
        _following("a", selects["a"], "s", "seq", ["id", "dt"], by_day),
    ]
    if " l " in selects["a"]:
        jobs[-1]["inputs"].append({"dataset": "l", "mapping": "all"})
    for name, (job, select) in rng.sample(sorted(_readers(rng, by_day).items()), 2):
        jobs.append(job)
        selects[name] = select
    if "t" in selects:
        selects["c"] = "SELECT k, x FROM t"
        jobs.append(_following("c", selects["c"], "t", "k", ["k"], {}))
    return GrowingWorld(tuple(jobs), selects)


def _source(name: str, partitioning: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    job = source(name, partitioning)
    job["outputs"][0] |= declared
    return job


def _first(rng: Random) -> str:
    """Return a SELECT of all rows of the source, some with a lookup."""
    x = rng.choice(["s.x", "s.x + s.y", "coalesce(s.x, 0)", "s.y", "l.v", "s.x + coalesce(l.v, 0)"])
    tables = "s LEFT JOIN l USING (k)" if "l.v" in x else "s"
    return f"SELECT s.id, s.seq, k, {x} AS x, s.dt FROM {tables}"


def _readers(rng: Random, by_day: dict[str, Any]) -> dict[str, tuple[dict[str, Any], str]]:
    rows = f"SELECT id, k, x * {rng.randint(1, 3)} AS x, dt FROM a"
    totals = "SELECT k, sum(x)::int AS x FROM a GROUP BY k"
    number = "SELECT count(*)::int AS n, sum(x)::int AS x FROM a"
    append = {"update_strategy": "append", "unique_key": ["k"]}
    whole = {"dataset": "a", "mapping": "all"}
    return {
        "b": (_following("b", rows, "a", "seq", ["id", "dt"], by_day), rows),
        "t": (
            sql_job("t", whole, sql=totals, execution_strategy="Full", partitioning={}, **append),
            totals,
        ),
        "z": (sql_job("z", whole, sql=number, partitioning={}), number),
    }


def _following(
    name: str, select: str, read: str, column: str, key: list[str], partitioning: dict[str, Any]
) -> dict[str, Any]:
    """Return a job that follows a growing column of its input."""
    cursor = {"column": column, "type": "text" if column == "k" else "integer"}
    return sql_job(
        name,
        {"dataset": read, "cursor": cursor},
        sql=select,
        execution_strategy="PerUpdate",
        update_strategy="append",
        unique_key=key if partitioning else key[:1],
        partitioning=partitioning,
    )
