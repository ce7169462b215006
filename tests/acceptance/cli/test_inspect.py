"""Commands that list jobs, datasets, partitions, stale partitions and one task."""

import psycopg

from tests.acceptance.cli.conftest import Knockon
from tests.acceptance.cli.test_changes import WEEK, planned


def test_jobs_and_datasets_are_listed(shop: Knockon) -> None:
    planned(shop, "orders", *WEEK)
    assert [row["name"] for row in shop("jobs", "--json").json] == ["orders", "daily_sales"]
    assert "queued 7" in shop("jobs", "--dag", "minimal").out
    for listing in ("jobs", "datasets"):
        assert "no DAG 'other' deployed" in shop(listing, "--dag", "other", code=1).err
    text = shop("datasets").out
    assert "id, ordered_at, amount +1 more" in text
    assert "dt day" in text
    assert [row["readers"] for row in shop("datasets", "--json").json] == [["daily_sales"], []]


def test_the_states_of_partitions_are_ranges(shop: Knockon) -> None:
    assert "no partitions yet" in shop("partitions", "daily_sales").out
    planned(shop, "orders", *WEEK)
    (row,) = shop("partitions", "daily_sales", "--json").json
    assert row == {"state": "queued", "count": 7, "partitions": ["2026-02-02..2026-02-08"]}
    assert "2026-02-02..2026-02-08" in shop("partitions", "orders").out
    assert "no dataset 'daily'" in shop("partitions", "daily", code=1).err


def test_stale_partitions_are_listed(shop: Knockon) -> None:
    assert "no partition is stale" in shop("stale").out
    planned(shop, "orders", *WEEK)
    rows = shop("stale", "daily_sales", "--limit", "2", "--json").json
    assert [(row["partition"], row["verdict"]) for row in rows] == [
        ("2026-02-02", "in hand"),
        ("2026-02-03", "in hand"),
    ]
    assert "never built" in shop("stale").out


def test_a_sample_of_partitions_is_verified(shop: Knockon) -> None:
    text = shop("verify", "--sample", "50%", "--seed", "7").out
    assert "0 partitions sampled with seed 7: 0 equal, 0 skipped, 0 different, 0 failed" in text
    assert shop("verify", "--json").json["partitions"] == []
    assert (
        "'5' is not a percentage such as 1% or 0.5%" in shop("verify", "--sample", "5", code=1).err
    )
    assert "up to 100%" in shop("verify", "--sample", "101%", code=1).err


def test_a_task_is_shown(shop: Knockon) -> None:
    planned(shop, "orders", *WEEK)
    task = shop("tasks", "--json").json[0]
    text = shop("tasks", "show", task["id"][-8:]).out
    assert "minimal.daily_sales  queued" in text
    assert task["id"] in text
    assert shop("tasks", "show", task["id"], "--json").json["task"] == task
    assert "there is no task" in shop("tasks", "show", "00000000", code=1).err


def test_the_log_of_a_task_is_shown(shop: Knockon) -> None:
    planned(shop, "orders", *WEEK)
    task = shop("tasks", "--json").json[0]["id"]
    assert "no attempts are recorded" in shop("logs", task).out
    with psycopg.connect(shop.env["KNOCKON_DATABASE_URL"]) as conn:
        for number in (1, 2):
            conn.execute(
                "INSERT INTO knockon.task_attempts SELECT id, %s, org_id, 'w1', now(), now(),"
                " 'failed', 'no luck', %s FROM knockon.tasks WHERE id = %s",
                [number, f"\x1b[31mred {number}\x1b[0m\x1b[2J", task],
            )
    text = shop("logs", task[-8:]).out
    assert "minimal.daily_sales  queued" in text
    assert "attempt 1  failed" in text
    assert "no luck" in text
    assert "\nred 2␛[2J" in text
    assert "red 1" not in shop("logs", task, "--attempt", "2").out
    (attempt,) = shop("logs", task, "--attempt", "1", "--json").json["attempts"]
    assert attempt["log"] == "\x1b[31mred 1\x1b[0m\x1b[2J"
    assert "no attempt 3" in shop("logs", task, "-a", "3", code=1).err
    assert "attempt 2  failed" in shop("tasks", "show", task).out


def test_events_are_listed_and_followed(shop: Knockon) -> None:
    assert "no events" in shop("events").out
    with (
        shop.running("engine", until="engine is up"),
        shop.running("events", "--follow", until="dag deployed  minimal") as following,
    ):
        shop("invalidate", "orders", *WEEK)
        following.wait_for("invalidation recorded  orders")
        following.wait_for("plan applied")
    feed = shop("events", "--json").json
    assert [event["kind"] for event in feed][-2:] == ["invalidation.recorded", "plan.applied"]
    after = feed[0]["position"]
    assert shop("events", "--after", after, "--json").json == feed[1:]
    deployed = [event for event in feed if event["kind"] == "dag.deployed"]
    assert shop("events", "--kind", "dag.deployed", "--json").json == deployed
    assert "no events" in shop("events", "--after", feed[-1]["position"]).out
