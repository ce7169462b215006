"""Invalidations with extreme scopes are planned or set aside; valid ones are planned."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from engine.flow.planning.audit import audit
from engine.flow.planning.plan import plan
from engine.partitions import limits
from engine.planner import limits as plan_limits
from engine.store.database import Database
from engine.store.ids import new_id
from tests.support.worlds import DAILY, WEEKLY, World, job, source

HOURLY = {"dt": {"time": "hour", "zone": "America/New_York", "start": "2013-01-01T00-0500"}}
IDS = {"id": {"range": 1000}}
GRID = {"dt": {"time": "day"}, "origin": {"static": ["EWR", "JFK"]}, "id": {"range": 10}}
NAMES = {"name": {"dynamic": True}}
ENDLESS = {"dt": {"time": "day"}}
SPREAD = {"dataset": "endless", "mapping": {"dt": {"from": "dt", "window": [0, 6]}}}
AHEAD = {"dataset": "endless", "mapping": {"dt": {"from": "dt", "window": [-6, 0]}}}
SOURCES = {"daily": DAILY, "hourly": HOURLY, "ids": IDS, "grid": GRID, "names": NAMES, "one": {}}
SOURCES["endless"] = ENDLESS
PRODUCED = ("days", "weeks", "last", "log", "grids", "all", "spread", "ahead", "late")

_REASONS = ("change", "arrival", "correction", "rewritten", "manual", "schema_change", "found")
_number = st.one_of(
    st.integers(-5_000, 5_000), st.integers(-(10**30), 10**30), st.just(2**62), st.just(-(2**62))
)
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
_key = st.one_of(
    st.dates().map(str),
    st.sampled_from(["1000-01-01", "1000-01-07", "9998-12-31", "9998-12-25", "1000-01-01T00-0500"]),
    st.sampled_from(["2013-02-13", "2013-02-13T05-0500", "JFK", "*", "!a,b", "!", "", "..", "/"]),
    _number.map(lambda n: f"{n * 1000}-{n * 1000 + 999}"),
    _number.map(lambda n: f"{n * 10}-{n * 10 + 9}"),
    _text,
)
_part = st.one_of(_key, st.builds("{}..{}".format, _key, _key), _key.map("{}..".format))
_partition_key = st.one_of(
    st.none(),
    _part,
    st.builds("dt={}/origin={}/id={}".format, _part, _part, _part),
    st.builds("id={}".format, _part),
)
_scalar = st.one_of(_text, _number, st.booleans(), st.none(), st.floats(allow_nan=False))
_scalar = _scalar.filter(lambda value: value not in (float("inf"), float("-inf")))
_condition = st.one_of(
    _scalar,
    st.dictionaries(
        st.sampled_from(["in", "gt", "gte", "lt", "lte", "like"]),
        st.one_of(_scalar, st.lists(_scalar, max_size=3)),
        max_size=3,
    ),
)
_column = st.one_of(st.sampled_from(["id", "a", "b", "k", "dt", "origin", "name"]), _text)
_scope = st.fixed_dictionaries(
    {
        "dataset": st.sampled_from([*SOURCES, *PRODUCED]),
        "partition_key": _partition_key,
        "columns": st.none() | st.lists(_column, max_size=3),
        "row_filter": st.none() | st.dictionaries(_column, _condition, max_size=3),
        "reason": st.sampled_from(_REASONS),
    }
)

_INSERT = """
INSERT INTO data_invalidations (id, org_id, dataset_uuid, dataset_version, scope, partition_key,
                                row_filter, reason, columns)
SELECT %(id)s, org_id, dataset_uuid, dataset_version,
       CASE WHEN %(row_filter)s::jsonb IS NOT NULL THEN 'row_range'
            WHEN %(partition_key)s::text IS NOT NULL THEN 'partition' ELSE 'dataset' END,
       %(partition_key)s, %(row_filter)s, %(reason)s, %(columns)s
FROM current_datasets WHERE name = %(dataset)s
"""


async def deployed(database: Database) -> World:
    """Jobs of every strategy over sources of every kind."""
    sources = [source(name, partitioning) for name, partitioning in SOURCES.items()]
    sources[[*SOURCES].index("one")]["outputs"][0]["columns"] = ["id", "a", "b"]
    ahead = job("ahead", AHEAD, partitioning=ENDLESS)
    ahead["outputs"][0]["appears"] = "always"
    passing = {
        "dataset": "one",
        "cursor": {"column": "id", "type": "integer"},
        "passes": {"a": ["k"], "b": ["k"]},
    }
    following = {"partitioning": NAMES, "execution_strategy": "PerUpdate"}
    following |= {"update_strategy": "append", "unique_key": ["id"]}
    return await World.made(
        database,
        *sources,
        job("days", {"dataset": "hourly", "mapping": {"dt": "dt"}}, "daily"),
        job("weeks", "days", partitioning=WEEKLY, scaling={"partitions_per_task": 3}),
        job("last", {"dataset": "days", "mapping": "last"}, partitioning={}),
        job("log", passing, columns={"id": ["one.id"], "k": ["one.a", "one.b"]}, **following),
        job("grids", "grid", {"dataset": "ids", "mapping": {"id": "id"}}, partitioning=GRID),
        job("all", {"dataset": "ids", "mapping": "all"}, execution_strategy="Full"),
        job("spread", SPREAD, partitioning=ENDLESS),
        ahead,
        job("late", "names", {"dataset": "log", "mapping": "identity"}, partitioning=NAMES),
    )


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


async def planned(world: World, scopes: list[dict[str, Any]]) -> list[str]:
    """Plan invalidations with these scopes and a valid one at the end; returns the outcomes."""
    async with world.conn() as conn:
        await conn.execute("DELETE FROM task_dependencies")
        await conn.execute("DELETE FROM tasks")
        await conn.execute("DELETE FROM partition_versions")
        await conn.execute("DELETE FROM data_invalidations")
        for scope in [*scopes, _GOOD]:
            rows = scope["row_filter"]
            row = scope | {"id": new_id(), "row_filter": None if rows is None else Jsonb(rows)}
            await conn.execute(_INSERT, row)
        for _ in range(3 * len(scopes) + 3):
            if await plan(conn, world.org, 4) is None:
                break
        for dataset in PRODUCED:  # whatever was stored can be read again
            async for _ in audit(conn, world.org, dataset):
                pass
    rows = await world.rows(
        "SELECT CASE WHEN planning_error IS NOT NULL AND processed_at IS NULL THEN 'set aside' "
        "WHEN processed_at IS NOT NULL AND planning_error IS NULL THEN 'planned' ELSE 'open' END "
        "AS state FROM data_invalidations ORDER BY id"
    )
    return [row["state"] for row in rows]


_GOOD = {
    "dataset": "daily",
    "partition_key": "2013-02-13",
    "columns": None,
    "row_filter": None,
    "reason": "change",
}


def test_every_invalidation_is_planned_or_set_aside(
    database_url: str, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 500)
    monkeypatch.setattr(plan_limits, "MAX_PLANNED", 1_500)
    database = runner.run(Database.open(database_url))
    seen: set[str] = set()

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(_scope, min_size=1, max_size=8))
    @example([_GOOD | {"dataset": "endless", "partition_key": "1000-01-01"}])
    @example([_GOOD | {"dataset": "endless", "partition_key": "9998-12-31"}])
    def check(scopes: list[dict[str, Any]]) -> None:
        states = runner.run(planned(world, scopes))
        assert len(states) == len(scopes) + 1
        assert states[-1] == "planned"
        assert set(states) <= {"planned", "set aside"}
        seen.update(states[:-1])

    try:
        world = runner.run(deployed(database))
        check()
        assert seen == {"planned", "set aside"}
    finally:
        runner.run(database.close())
