"""Ingest: stored events, merged events, and rejected events without loss."""

from typing import Any

import pytest

from engine.errors import InvalidInput
from engine.flow.ingestion import ingest as ingestion
from engine.flow.ingestion.ingest import Ingested, ingest
from engine.model.event import Batch, Delivery, Received, Rejection, SourceEvent
from engine.store.database import Database
from tests.support.worlds import World, job, source

ORIGINS = {
    "dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"},
    "origin": {"static": ["EWR", "JFK", "LGA"]},
}


@pytest.fixture
async def world(database: Database) -> World:
    flights = source("flights", ORIGINS)
    flights["outputs"][0]["columns"] = ["delay", "carrier"]
    return await World.made(database, flights, source("other"), job("b", "other"))


async def take(world: World, *events: SourceEvent, stream: str = "s") -> Ingested:
    received = tuple(
        Received.one(event, Delivery(stream, str(n), b"raw")) for n, event in enumerate(events)
    )
    async with world.conn() as conn:
        return await ingest(conn, world.org, Batch(consumer="k", received=received))


async def invalidations(world: World) -> list[dict[str, Any]]:
    return await world.rows(
        "SELECT scope, partition_key, columns, row_filter, events FROM data_invalidations "
        "WHERE reason <> 'definition_change' "
        "ORDER BY partition_key"
    )


async def test_a_thousand_events_about_one_partition_are_one_invalidation(world: World) -> None:
    events = [
        SourceEvent(dataset="flights", partitions=("dt=2013-02-13/origin=JFK",), id=f"e{n}")
        for n in range(1_000)
    ]
    await take(world, *events)
    (invalidation,) = await invalidations(world)
    assert (invalidation["scope"], invalidation["partition_key"], invalidation["events"]) == (
        "partition",
        "dt=2013-02-13/origin=JFK",
        1_000,
    )
    (row,) = await world.rows("SELECT source_event FROM data_invalidations WHERE reason = 'change'")
    assert row["source_event"]["count"] == 1_000
    assert row["source_event"]["ids"][:2] == ["e0", "e1"]
    assert (row["source_event"]["first"], row["source_event"]["last"]) == ("0", "999")


async def test_positions_of_merged_events_are_ordered_as_numbers(world: World) -> None:
    await take(world, *(SourceEvent(dataset="flights") for _ in range(11)))
    (row,) = await world.rows("SELECT source_event FROM data_invalidations WHERE reason = 'change'")
    assert (row["source_event"]["first"], row["source_event"]["last"]) == ("0", "10")


async def test_neighbouring_partitions_become_a_range(world: World) -> None:
    days = [f"dt=2013-02-{n:02}/origin=JFK" for n in range(1, 8)]
    await take(world, *(SourceEvent(dataset="flights", partitions=(day,)) for day in days))
    (invalidation,) = await invalidations(world)
    assert invalidation["partition_key"] == "dt=2013-02-01..2013-02-07/origin=JFK"
    assert invalidation["events"] == 7


async def test_a_wider_invalidation_absorbs_a_narrower_one(world: World) -> None:
    day = ("dt=2013-02-13/origin=JFK",)
    await take(
        world,
        SourceEvent(dataset="flights", partitions=day, columns=("delay",)),
        SourceEvent(dataset="flights", partitions=day),
        SourceEvent(
            dataset="flights", partitions=("dt=2013-02-14/origin=JFK",), columns=("delay",)
        ),
    )
    found = await invalidations(world)
    assert [(f["partition_key"], f["columns"], f["events"]) for f in found] == [
        ("dt=2013-02-13/origin=JFK", None, 2),
        ("dt=2013-02-14/origin=JFK", ["delay"], 1),
    ]


async def test_an_invalidation_of_existing_partitions_does_not_absorb_a_new_partition(
    world: World,
) -> None:
    day = ("dt=2013-02-13/origin=JFK",)
    await take(
        world,
        SourceEvent(dataset="flights"),
        SourceEvent(dataset="flights", partitions=day),
        SourceEvent(dataset="flights", partitions=day, columns=("delay",)),
        SourceEvent(dataset="flights", columns=("delay",)),
    )
    found = await invalidations(world)
    assert [(f["partition_key"], f["columns"], f["events"]) for f in found] == [
        (day[0], None, 4),
        (None, None, 4),
    ]


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (SourceEvent(dataset="nope"), "nope"),
        (SourceEvent(dataset="flights", partitions=("dt=2013-13-01/origin=JFK",)), "2013-13-01"),
        (SourceEvent(dataset="flights", partitions=("dt=2013-02-13/origin=SFO",)), "SFO"),
        (SourceEvent(dataset="flights", partitions=("dt=2013-02-07..2013-02-01",)), "2013-02-07"),
        (SourceEvent(dataset="flights", partitions=("dt=2020-01-01",)), "2020-01-01"),
        (SourceEvent(dataset="flights", partitions=()), "partitions is empty"),
        (SourceEvent(dataset="flights", columns=()), "columns is empty"),
        (SourceEvent(dataset="flights", rows={"delay": {"like": "%"}}), "like"),
        (SourceEvent(dataset="flights", rows={"delay": [1]}), "delay"),
        (SourceEvent(dataset="flights", version="latest"), "latest"),
    ],
)
async def test_an_invalid_event_is_a_dead_letter_with_its_error(
    world: World, event: SourceEvent, complaint: str
) -> None:
    good = SourceEvent(dataset="other", partitions=("2013-02-13",))
    done = await take(world, event, good)
    assert len(done.invalidations) == 1, "the good one went through"
    (letter,) = await world.rows("SELECT stream, position, payload, error FROM dead_letters")
    assert (letter["stream"], letter["position"], letter["payload"]) == ("s", "0", b"raw")
    assert complaint in letter["error"]


@pytest.fixture
async def readers(world: World) -> World:
    """Readers of single columns of a dataset that has lost the column z, and of all columns."""
    made = source("wide")
    made["outputs"][0]["columns"] = ["x", "y", "z"]
    jobs = [
        job("xs", "wide", columns={"x": ["wide.x"]}),
        job("ys", "wide", columns={"y": ["wide.y"]}),
        job("whole", "wide"),
    ]
    await world.deploy(made, *jobs, dag="columns")
    made["outputs"][0]["columns"] = ["x", "y"]
    await world.deploy(made, *jobs, dag="columns")
    await world.changed("wide", "2013-02-13")
    await world.run()
    return world


@pytest.mark.parametrize(
    ("columns", "rows", "reached"),
    [
        (("x", "z"), None, ["whole", "xs"]),
        (("z",), None, ["whole"]),
        (("x", "new"), None, ["whole", "xs", "ys"]),
        (("new",), None, ["whole", "xs", "ys"]),
        (("x",), {"z": 1}, ["whole", "xs"]),
        (("x",), {"new": 1, "y": {"gt": 2}}, ["whole", "xs"]),
    ],
)
async def test_an_event_with_an_unknown_column_is_ingested(
    readers: World,
    columns: tuple[str, ...],
    rows: dict[str, Any] | None,
    reached: list[str],
) -> None:
    """A removed column reaches readers of everything only; any other name may be any column."""
    day = ("2013-02-13",)
    event = SourceEvent(dataset="wide", partitions=day, columns=columns, rows=rows)
    done = await take(readers, event)
    assert not done.rejections
    unknown = next(name for name in (*columns, *(rows or {})) if name not in ("x", "y"))
    (stored,) = await readers.rows(
        "SELECT row_filter, source_event #>> '{event,note}' AS note FROM data_invalidations"
        " ORDER BY id DESC LIMIT 1"
    )
    assert stored["note"] == f"unknown columns: {unknown}"
    assert unknown not in str(stored["row_filter"])
    await readers.plan()
    assert sorted(await readers.run()) == [f"{name}[2013-02-13]" for name in reached]


async def test_an_unknown_column_in_a_manual_request_is_rejected(readers: World) -> None:
    for columns in (("x", "z"), ("new",)):
        with pytest.raises(InvalidInput, match="has no column"):
            await readers.change("wide", columns=columns)


async def test_a_captured_change_of_an_undeclared_column_is_ingested(world: World) -> None:
    made = source("table")
    made["outputs"][0]["columns"] = ["delay"]
    by_column = job("delays", "table", columns={"delay": ["table.delay"]})
    await world.deploy(made, by_column, job("whole", "table"), dag="of_a_table")
    await world.changed("table", "2013-02-13")
    await world.run()
    event = SourceEvent(dataset="table", partitions=("2013-02-13",), columns=("updated_at",))
    done = await take(world, event, stream="postgres/7/1/shop")
    assert not done.rejections
    await world.plan()
    assert await world.run() == ["whole[2013-02-13]"]


async def test_an_event_for_an_earlier_version_is_stored_and_not_planned(world: World) -> None:
    (old,) = await world.rows(
        "INSERT INTO dataset_versions (org_id, dataset_uuid, config_hash) "
        "SELECT org_id, id, 'x' FROM datasets WHERE name = 'other' RETURNING id"
    )
    await take(world, SourceEvent(dataset="other", version=str(old["id"])))
    (invalidation,) = await world.rows(
        "SELECT outcome, processed_by FROM data_invalidations WHERE reason = 'change'"
    )
    assert invalidation == {"outcome": "not_current", "processed_by": []}
    assert await world.plan() is None
    assert await world.tasks() == {}


async def test_a_request_with_a_key_is_stored_once(world: World) -> None:
    first = await world.change("other", "2013-02-13", id="k1")
    again = await world.change("other", "2013-02-13", id="k1")
    assert (first.is_new, again.is_new) == (True, False)
    assert first.invalidations == again.invalidations
    assert (await world.change("other", "2013-02-13", id="k2")).is_new


async def test_an_invalid_manual_request_is_rejected_and_stores_nothing(world: World) -> None:
    with pytest.raises(InvalidInput, match="2020"):
        await world.change("other", "2020-01-01")
    assert await world.rows("SELECT id FROM dead_letters") == []
    assert await invalidations(world) == []


async def test_sql_in_an_event_is_not_executed(world: World) -> None:
    evil = "x'; DROP TABLE tasks; --"
    await take(world, SourceEvent(dataset=evil), SourceEvent(dataset="other", partitions=(evil,)))
    assert len(await world.rows("SELECT id FROM dead_letters")) == 2
    assert await world.rows("SELECT count(*) AS n FROM tasks") == [{"n": 0}]


async def letters(world: World, payload: bytes | None, error: str, **headers: str) -> list[object]:
    """Reject a message at the first offset and return the stored letters."""
    letter = Rejection(
        stream="kafka/t/0", position="0", payload=payload, error=error, headers=headers
    )
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="c", rejections=(letter,)))
    rows = await world.rows("SELECT payload, error FROM dead_letters ORDER BY created_at, id")
    return [(row["payload"], row["error"]) for row in rows]


async def test_messages_of_a_recreated_topic_are_separate_dead_letters(world: World) -> None:
    """A topic that was deleted and created again starts at the first offset, too."""
    await letters(world, b"a", "old")

    assert await letters(world, b"b", "new") == [(b"a", "old"), (b"b", "new")]
    assert len(await letters(world, None, "lost: 1")) == 3
    assert len(await letters(world, None, "lost: 2")) == 4
    assert len(await letters(world, b"b", "new", ce_id="2")) == 5


async def test_a_message_read_again_is_one_dead_letter(world: World) -> None:
    await letters(world, b"a", "old")

    assert await letters(world, b"a", "new") == [(b"a", "new")]


async def test_a_message_rejected_twice_in_a_batch_is_one_dead_letter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion, "_MOST_LETTER_BYTES", 3)  # several statements
    rejections = [
        Rejection(stream="s", position=position, payload=payload, error=error)
        for position, payload, error in [
            ("1", b"ab", "first"),
            ("1", b"ab", "second"),
            ("2", b"abcd", "long"),
            ("3", None, "lost"),
            ("3", None, "lost"),
            ("4", b"x", "last"),
        ]
    ]
    async with world.conn() as conn:
        await ingest(conn, world.org, Batch(consumer="c", rejections=tuple(rejections)))
    rows = await world.rows("SELECT position, error FROM dead_letters ORDER BY position")
    assert [(row["position"], row["error"]) for row in rows] == [
        ("1", "second"),
        ("2", "long"),
        ("3", "lost"),
        ("4", "last"),
    ]


DAY = "dt=2013-02-13"


def _change(*partitions: str, **more: Any) -> SourceEvent:
    return SourceEvent(dataset="a", partitions=partitions, **more)


@pytest.mark.parametrize(
    "events",
    [
        [_change(DAY), _change(f"{DAY}/k=B")],
        [_change(f"{DAY}/k=B"), _change("*")],
        [_change("k=B"), _change(DAY)],
        [_change(DAY, f"{DAY}/k=B")],
        [_change(DAY), _change(f"{DAY}/k=B", columns=("x",))],
    ],
    ids=["two events", "all partitions", "other dimensions", "one event", "columns"],
)
async def test_an_event_of_all_keys_so_far_does_not_absorb_a_new_key(
    database: Database, events: list[SourceEvent]
) -> None:
    """A dynamic dimension left open stands for the keys that exist in it."""
    by_key = {"dt": ORIGINS["dt"], "k": {"dynamic": True}}
    a = source("a", by_key)
    a["outputs"][0]["columns"] = ["x", "y"]
    world = await World.made(database, a, job("b", "a", partitioning=by_key))
    await world.changed("a", f"{DAY}/k=A")
    await world.run()
    await take(world, *events)
    await world.plan()
    assert {f"b[{DAY}/k=A]", f"b[{DAY}/k=B]"} <= {*await world.run()}


@pytest.mark.parametrize("outside", ["dt=2013-02-13/origin=SFO", "dt=2014-01-01/origin=JFK"])
async def test_partitions_of_a_table_outside_the_bounds_of_now_are_left_out(
    world: World, outside: str
) -> None:
    """Its triggers have the bounds of the time at which the table was attached."""
    inside = "dt=2013-02-13/origin=JFK"
    event = SourceEvent(dataset="flights", partitions=(outside, inside))
    done = await take(world, event, stream="postgres/7/1/shop")
    assert not done.rejections
    assert [row["partition_key"] for row in await invalidations(world)] == [inside]

    only_outside = SourceEvent(dataset="flights", partitions=(outside,))
    assert (await take(world, only_outside, stream="postgres/7/1/shop")).rejections
    assert (await take(world, event, stream="topic/0")).rejections
