"""Reported column lineage prunes the columns reported clean, and no others."""

import asyncio
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import pytest

from consumers.formats.reading import Reader
from consumers.sources import load_sources
from engine.flow.deployment.auto_register import auto_register
from engine.flow.ingestion.ingest import ingest
from engine.model.event import Batch, Delivery, Rejection
from engine.model.openlineage import PRODUCER
from engine.model.task import Lease
from engine.store.database import Connection, Database
from tests.support.worlds import World, job, source

DIRECT, FILTER = {"type": "DIRECT"}, {"type": "INDIRECT", "subtype": "FILTER"}
COLUMNS = ["dt", "amount", "status", "notes"]
TOLD = {
    "dt": [("orders", "dt", DIRECT)],
    "total": [("orders", "amount", DIRECT), ("orders", "status", FILTER)],
}


def orders(**more: Any) -> dict[str, Any]:
    """A source whose topic also carries lineage reported by downstream jobs."""
    said = {"kind": "kafka", "topic": "lineage", "format": "openlineage", "namespace": "db"}
    spec = source("orders", source={**said, "name": "public.{dataset}", "unknown": "ignore"})
    spec["outputs"][0]["columns"] = COLUMNS
    return spec | more


def learning(name: str, *inputs: Any, columns: Any = ("dt", "total"), **more: Any) -> Any:
    """A job that accepts reported lineage."""
    spec = job(name, *inputs, columns=list(columns), **more)
    spec["outputs"][0]["column_lineage"] = "openlineage"
    return spec


def reading(name: str, read: str, column: str) -> dict[str, Any]:
    """A job that reads one column of another."""
    return job(name, read, columns={"dt": [f"{read}.dt"], "it": [f"{read}.{column}"]})


def fields(told: dict[str, list[tuple[str, str, Any]]]) -> dict[str, Any]:
    return {
        column: {"inputFields": [field(*each) for each in reads]} for column, reads in told.items()
    }


def field(name: str, column: str, *kinds: Any) -> dict[str, Any]:
    made = {"namespace": "db", "name": f"public.{name}", "field": column}
    return made | {"transformations": list(kinds)}


def event(lease: Lease, told: Any = None, name: str = "daily", **more: Any) -> dict[str, Any]:
    """Event of a program started with `OPENLINEAGE_PARENT_ID`."""
    facet = {"fields": fields(TOLD if told is None else told)}
    parent = {"run": {"runId": str(lease.run_id)}, "job": {"namespace": "k", "name": "w.daily"}}
    return {
        "eventType": "COMPLETE",
        "run": {"runId": str(UUID(int=7)), "facets": {"parent": parent}},
        "job": {"namespace": "spark", "name": "app.save"},
        "inputs": [],
        "outputs": [
            {"namespace": "db", "name": f"public.{name}", "facets": {"columnLineage": facet}}
        ],
        **more,
    }


async def _reader(conn: Connection, world: World) -> Reader:
    return (await load_sources(conn, world.org)).readers(partial(auto_register, conn, world.org))[
        "lineage"
    ]


async def tell(world: World, message: dict[str, Any]) -> None:
    """Ingest a message like the consumer."""
    async with world.conn() as conn:
        reader, value = await _reader(conn, world), msgspec.json.encode(message)
        read = reader.read(Delivery("kafka/lineage/0", "1", value, {}))
        assert not isinstance(read, Rejection)
        assert reader.reported_lineage is not None
        batch = Batch(
            consumer="k",
            received=tuple(read),
            reported_lineage=tuple(reader.reported_lineage(value)),
        )
        assert (await ingest(conn, world.org, batch)).rejections == ()


async def lineage(world: World, name: str = "daily") -> set[tuple[str, str]]:
    rows = await world.rows(
        "SELECT output_column, input_column FROM column_lineage l "
        "JOIN jobs j ON j.id = l.job_id WHERE j.name = %s",
        name,
    )
    return {(row["output_column"], row["input_column"]) for row in rows}


async def began(database: Database, *jobs: Any) -> tuple[World, Lease]:
    """A world with one completed run of `daily`, and the lease of the run."""
    world = await World.made(database, orders(), *(jobs or [learning("daily", "orders")]))
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    await world.finish(lease)
    await world.run()
    return world, lease


async def woken(world: World, *columns: str) -> list[str]:
    """The jobs that run after a change of columns of `orders`."""
    await world.changed("orders", "2013-02-13", columns=columns)
    return [each.partition("[")[0] for each in await world.run()]


WHOLE = {("*", "dt"), ("total", "amount"), ("*", "status")}


async def test_an_input_without_reported_lineage_is_read_entirely(database: Database) -> None:
    world, _ = await began(database)
    assert await woken(world, "notes") == ["daily"]


async def test_reported_lineage_prunes(database: Database) -> None:
    world, lease = await began(
        database,
        learning("daily", "orders", columns=("dt", "total", "n")),
        reading("totals", "daily", "total"),
        reading("counts", "daily", "n"),
    )
    await tell(world, event(lease, {**TOLD, "n": []}))

    assert await lineage(world) == WHOLE
    assert await woken(world, "notes") == []
    assert await woken(world, "amount") == ["daily", "totals"]
    assert set(await woken(world, "status")) == {"daily", "totals", "counts"}  # a filter column
    assert set(await woken(world, "dt")) == {"daily", "totals", "counts"}  # partitions


async def test_dataset_level_lineage_is_recorded(database: Database) -> None:
    world, lease = await began(database)
    said = event(lease, {"dt": [("orders", "dt")], "total": [("orders", "amount")]})
    facet = said["outputs"][0]["facets"]["columnLineage"]
    facet["dataset"] = [field("orders", "status", FILTER)]

    await tell(world, said)

    assert await lineage(world) == WHOLE


def _without(column: str) -> dict[str, Any]:
    return {name: reads for name, reads in TOLD.items() if name != column}


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(_without("dt"), id="a column is missing"),
        pytest.param({**TOLD, "tax": []}, id="the dataset has no such column"),
        pytest.param({**TOLD, "total": [("orders", "amount")]}, id="nothing is said of filters"),
        pytest.param({**TOLD, "total": [("users", "id", DIRECT)]}, id="of what it does not read"),
        pytest.param({**TOLD, "total": [("orders", "AMOUNT", DIRECT)]}, id="called otherwise"),
    ],
)
async def test_incomplete_lineage_is_not_recorded(database: Database, told: Any) -> None:
    world, lease = await began(database)
    await tell(world, event(lease, told))
    assert await woken(world, "notes") == ["daily"]


async def test_lineage_without_a_column_of_the_schema_is_incomplete(database: Database) -> None:
    world, lease = await began(database)
    said = event(lease)
    said["outputs"][0]["facets"]["schema"] = {"fields": [{"name": "total"}, {"name": "tax"}]}
    await tell(world, said)
    assert await woken(world, "notes") == ["daily"]


@pytest.mark.parametrize(
    "change",
    [
        {"eventType": "START"},
        {"eventType": "FAIL"},
        {"producer": PRODUCER},
        {"run": {"runId": str(UUID(int=7))}},
        {"run": {"runId": "no uuid"}},
        {"inputs": 3},
    ],
    ids=str,
)
async def test_lineage_reported_by_other_runs_is_ignored(
    database: Database, change: dict[str, Any]
) -> None:
    world, lease = await began(database)
    await tell(world, event(lease) | change)
    assert await lineage(world) == set()


async def test_a_nested_run_is_matched_by_its_root(database: Database) -> None:
    world, lease = await began(database)
    said = event(lease)
    parent = said["run"]["facets"]["parent"]
    parent["root"] = {"run": parent["run"], "job": parent["job"]}
    parent["run"] = {"runId": str(UUID(int=8))}
    await tell(world, said)
    assert await lineage(world) == WHOLE


async def test_columns_that_determine_the_partition_are_always_read(database: Database) -> None:
    world, lease = await began(database)
    await tell(world, event(lease, {"dt": [], "total": [("orders", "amount", DIRECT)]}))
    assert await woken(world, "dt") == ["daily"]


async def test_datasets_are_matched_by_symlinks(database: Database) -> None:
    world, lease = await began(database)
    said = event(lease, {"dt": [("orders", "dt", DIRECT)], "total": []})
    linked = {"symlinks": {"identifiers": [{"namespace": "db", "name": "public.orders"}]}}
    said["inputs"] = [{"namespace": "s3", "name": "lake/orders", "facets": linked}]
    [read] = said["outputs"][0]["facets"]["columnLineage"]["fields"]["dt"]["inputFields"]
    read |= {"namespace": "s3", "name": "lake/orders"}
    await tell(world, said)
    assert await lineage(world) == {("*", "dt")}


async def test_lineage_is_recorded_only_for_jobs_that_enable_it(database: Database) -> None:
    world, lease = await began(database, job("daily", "orders", columns=["dt", "total"]))
    await tell(world, event(lease))
    assert await woken(world, "notes") == ["daily"]


async def test_an_input_without_declared_columns_is_read_entirely(database: Database) -> None:
    kinds = orders() | {"name": "src_kinds"}
    kinds["outputs"] = [{**kinds["outputs"][0], "dataset": "kinds"}]
    del kinds["outputs"][0]["columns"]
    world = await World.made(database, orders(), kinds, learning("daily", "orders", "kinds"))
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    await world.finish(lease)
    await tell(world, event(lease, {**TOLD, "dt": [("kinds", "dt", DIRECT)]}))

    assert await woken(world, "notes") == []
    await world.changed("kinds", "2013-02-13")
    await world.run()
    await world.changed("kinds", "2013-02-13", columns=("any",))
    assert await world.run() == ["daily[2013-02-13]"]


async def test_an_input_missing_from_reports_is_read_entirely(database: Database) -> None:
    kinds = orders() | {"name": "src_kinds"}
    kinds["outputs"] = [{**kinds["outputs"][0], "dataset": "kinds"}]
    world = await World.made(database, orders(), kinds, learning("daily", "orders", "kinds"))
    await world.changed("orders", "2013-02-13")
    await world.changed("kinds", "2013-02-13")
    (lease,) = await world.claim()
    await world.finish(lease)
    await tell(world, event(lease))

    assert await woken(world, "notes") == []
    await world.changed("kinds", "2013-02-13", columns=("notes",))
    assert await world.run() == ["daily[2013-02-13]"]


async def test_reports_add_lineage_and_never_remove_it(database: Database) -> None:
    world, lease = await began(database)
    await tell(world, event(lease))
    await tell(world, event(lease, {"dt": [], "total": [("orders", "notes", DIRECT)]}))

    assert await lineage(world) == WHOLE | {("total", "notes")}
    assert await woken(world, "status") == ["daily"]
    assert await woken(world, "notes") == ["daily"]


async def test_partitions_pruned_by_incomplete_lineage_are_rebuilt(database: Database) -> None:
    world, lease = await began(database)
    await tell(world, event(lease))
    await world.changed("orders", "2013-02-14")
    await world.run()
    assert await woken(world, "notes") == []  # of the 13th; the report was wrong

    await tell(world, event(lease, {"dt": [], "total": [("orders", "notes", DIRECT)]}))
    await world.plan()

    assert await world.run() == ["daily[2013-02-13]"]


async def test_partitions_pruned_without_column_fingerprints_are_rebuilt(
    database: Database,
) -> None:
    """An input without reported columns changed as a whole, though the plan was narrower."""
    mid = job(
        "mid",
        "orders",
        columns={"dt": ["orders.dt"], "a": ["orders.amount"], "n": ["orders.notes"]},
    )
    world = await World.made(database, orders(), mid, learning("daily", "mid"))
    await world.changed("orders", "2013-02-13")
    (first,) = await world.claim()
    await world.finish(first, "before")
    (lease,) = await world.claim()
    await world.finish(lease)
    named = {"symlinks": {"identifiers": [{"namespace": "db", "name": "public.mid"}]}}
    inputs = [{"namespace": "db", "name": "public.mid", "facets": named}]
    told = {"dt": [("mid", "dt", DIRECT)], "total": [("mid", "a", DIRECT)]}
    await tell(world, event(lease, told, inputs=inputs))
    await world.changed("orders", "2013-02-13", columns=("notes",))
    assert await world.run(mid="after") == ["mid[2013-02-13]"]

    grown = {"dt": [], "total": [("mid", "n", DIRECT)]}
    await tell(world, event(lease, grown, inputs=inputs))
    await world.plan()

    assert await world.run() == ["daily[2013-02-13]"]


async def test_rebuilt_partitions_trigger_their_readers(database: Database) -> None:
    world, lease = await began(
        database, learning("daily", "orders"), reading("totals", "daily", "total")
    )
    await tell(world, event(lease))
    assert await woken(world, "notes") == []
    await tell(world, event(lease, {"dt": [], "total": [("orders", "notes", DIRECT)]}))
    await world.plan()
    assert await world.run() == ["daily[2013-02-13]", "totals[2013-02-13]"]


async def test_an_output_column_added_to_a_read_column_rebuilds_its_readers(
    database: Database,
) -> None:
    world, lease = await began(
        database,
        learning("daily", "orders", columns=("dt", "total", "n")),
        reading("totals", "daily", "total"),
        reading("counts", "daily", "n"),
    )
    told = {
        "dt": [("orders", "dt", DIRECT)],
        "total": [("orders", "amount", DIRECT)],
        "n": [("orders", "status", DIRECT)],
    }
    await tell(world, event(lease, told))
    await world.changed("orders", "2013-02-13", columns=("amount",))
    assert await world.run(daily="2") == ["daily[2013-02-13]", "totals[2013-02-13]"]

    await tell(world, event(lease, {"dt": [], "total": [], "n": [("orders", "amount", DIRECT)]}))
    await world.plan()
    assert await world.run(daily="2") == ["counts[2013-02-13]"]


async def test_a_change_pruned_during_a_first_run_is_made_up_for(database: Database) -> None:
    world, lease = await began(database)
    await tell(world, event(lease))
    await world.changed("orders", "2013-02-14")
    (second,) = await world.claim()
    await world.changed("orders", "2013-02-14", columns=("notes",))
    await tell(world, event(lease, {"dt": [], "total": [("orders", "notes", DIRECT)]}))
    await world.plan()
    await world.finish(second)
    assert await world.run() == ["daily[2013-02-14]"]


async def test_known_lineage_does_not_advance_the_epoch(database: Database) -> None:
    world, lease = await began(database)
    await tell(world, event(lease))
    (before,) = await world.rows("SELECT lineage_epoch FROM orgs")
    await tell(world, event(lease))
    assert await world.rows("SELECT lineage_epoch FROM orgs") == [before]


async def test_a_deploy_without_changes_of_data_keeps_reported_lineage(database: Database) -> None:
    world, lease = await began(database)
    await tell(world, event(lease))

    await world.deploy(orders(), learning("daily", "orders", description="new"))

    assert await woken(world, "notes") == []
    await tell(world, event(lease, {"dt": [], "total": [("orders", "notes", DIRECT)]}))
    assert await woken(world, "notes") == ["daily"]


async def test_a_new_dataset_version_has_no_reported_lineage(database: Database) -> None:
    world, lease = await began(database)
    await tell(world, event(lease))

    await world.deploy(orders(), learning("daily", "orders", config={"kwargs": {"v": 2}}))
    await world.run()
    await tell(world, event(lease))  # a late report of a run of the old code

    assert await lineage(world) == set()
    assert await woken(world, "notes") == ["daily"]


async def test_a_job_that_disables_it_drops_reported_lineage(database: Database) -> None:
    world, lease = await began(database)
    await tell(world, event(lease))
    await world.deploy(orders(), job("daily", "orders", columns=["dt", "total"]))
    assert await woken(world, "notes") == ["daily"]


async def test_concurrent_reports_are_recorded(database: Database) -> None:
    world, lease = await began(database)
    await asyncio.gather(*(tell(world, event(lease)) for _ in range(4)))
    assert await lineage(world) == WHOLE
