"""The neighbourhood of a dataset: states, columns, and what is hidden."""

from typing import Any

import pytest

from engine.errors import InvalidInput, UnknownName
from engine.model.states import Role
from engine.service.queries.neighbourhood import Neighbourhood, neighbourhood
from engine.store.database import Database
from tests.support.hidden import hidden_world
from tests.support.worlds import World, job, source

DAY, OTHER = "2013-02-13", "2013-02-14"


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(
        database,
        source("orders"),
        job("sales", "orders", columns={"total": ["orders.amount"], "*": ["orders.is_test"]}),
        job("report", "sales", columns={"sum": ["sales.total"]}),
    )


async def around(world: World, dataset: str, **options: Any) -> Neighbourhood:
    return await neighbourhood(world.caller, world.service, dataset, **options)


def states(found: Neighbourhood) -> dict[str, str]:
    """The states of datasets, and of jobs with other names."""
    return {node.name: str(node.state) for node in (*found.jobs, *found.datasets)}


async def test_edges_lead_from_datasets_to_jobs_to_outputs(world: World) -> None:
    found = await around(world, "sales")
    names = {node.id: f"dataset {node.name}" for node in found.datasets}
    names |= {node.id: f"job {node.name}" for node in found.jobs}
    assert found.dataset == "sales"
    assert {(names[edge.upstream], names[edge.downstream]) for edge in found.edges} == {
        ("job src_orders", "dataset orders"),
        ("dataset orders", "job sales"),
        ("job sales", "dataset sales"),
        ("dataset sales", "job report"),
        ("job report", "dataset report"),
    }
    assert all(edge.columns is None for edge in found.edges)
    assert [edge.mapping for edge in found.edges if names[edge.upstream] == "dataset sales"] == [
        "identity"
    ]


async def test_columns_are_shown_on_demand(world: World) -> None:
    found = await around(world, "sales", with_columns=True, column="total")
    columns = [edge.columns for edge in found.edges if edge.columns is not None]
    assert {"sales": {"amount": ("total",), "is_test": ("*",)}} in columns
    assert {node.name: node.path for node in found.datasets} == {
        "orders": ("amount", "is_test"),
        "sales": ("total",),
        "report": ("sum",),
    }


async def test_an_unknown_column_is_an_error(world: World) -> None:
    with pytest.raises(UnknownName, match="no column 'totl'; did you mean 'total'"):
        await around(world, "sales", column="totl")
    # The columns of orders are not declared.
    assert (await around(world, "orders", column="notes")).datasets[0].path == ("notes",)


async def test_states_follow_the_work(world: World) -> None:
    assert states(await around(world, "sales")) == {
        "src_orders": "idle",
        "sales": "never built",
        "report": "never built",
        "orders": "never built",
    }
    await world.change("orders", f"{DAY}..{OTHER}")
    found = await around(world, "sales")
    assert states(found)["orders"] == "stale"
    assert [node.open_invalidations for node in found.datasets if node.name == "orders"] == [1]
    await world.plan()
    assert states(await around(world, "sales"))["sales"] == "waiting"
    (first, *_) = await world.claim(limit=1)
    found = await around(world, "sales")
    assert states(found)["sales"] == "running"
    assert {node.name: node.tasks for node in found.jobs} == {
        "src_orders": {},
        "sales": {"running": 1, "queued": 1},
        "report": {"blocked": 2},
    }
    await world.finish(first)
    await world.run()
    assert states(await around(world, "sales"))["report"] == "fresh"
    await world.rows(
        "INSERT INTO stale_decisions (org_id, dataset_uuid, dataset_version, partition_key,"
        " decision, decided_at) SELECT org_id, dataset_uuid, dataset_version, %s, 'rejected', now()"
        " FROM current_datasets WHERE name = 'report' RETURNING partition_key",
        DAY,
    )
    found = await around(world, "sales")
    assert [node.left_stale for node in found.datasets if node.name == "report"] == [1]
    assert states(found)["report"] == "stale"


async def test_a_failed_task_is_shown(world: World) -> None:
    await world.changed("orders", DAY)
    await world.rows("UPDATE tasks SET status = 'failed' WHERE status = 'queued' RETURNING id")
    assert states(await around(world, "sales"))["sales"] == "failed"


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 301}, {"upstream": -1}])
async def test_sizes_are_bounded(world: World, options: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=" from "):
        await around(world, "sales", **options)


async def test_a_hidden_neighbour_is_shown_as_hidden_only(database: Database) -> None:
    hidden = await hidden_world(database)
    world = hidden.world
    found = await neighbourhood(hidden.user(Role.READER), world.service, "visible", column="x")
    assert {node.name for node in found.datasets} == {"visible", "below"}
    counts = [node.more for node in (*found.jobs, *found.datasets)]
    assert not any(each.upstream or each.downstream for each in counts)
    jobs = [node for node in found.jobs if node.more.is_hidden_upstream]
    assert {node.name for node in jobs} == {"visible", "below"}
    start = await neighbourhood(hidden.user(Role.READER), world.service, "start")
    assert [node.more.is_hidden_downstream for node in start.datasets] == [True]
    with pytest.raises(UnknownName, match="there is no dataset 'zzsecret_mid'"):
        await neighbourhood(hidden.user(Role.READER), world.service, "zzsecret_mid")
    seen = await neighbourhood(hidden.user(Role.READER, "finance"), world.service, "start")
    assert {node.name for node in seen.datasets} >= {"start", "zzsecret_mid", "visible"}
