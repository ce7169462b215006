"""Commands of operators: pause and resume, and retry and cancel of many tasks."""

from tests.acceptance.cli.conftest import MINIMAL, Knockon
from tests.acceptance.cli.test_changes import WEEK, planned


def test_a_paused_job_is_shown_until_it_is_resumed(shop: Knockon) -> None:
    out = shop("pause", "job", "daily_sales", "--reason", "load test", "--by", "ann").out
    assert "job 'minimal.daily_sales' is paused since" in out
    assert "by ann: load test" in out
    again = shop("pause", "job", "daily_sales", "--by", "eve").out
    assert again == out.replace("is paused", "is already paused")
    planned(shop, "orders", *WEEK)
    text = shop("status").out
    assert text.startswith("paused")
    assert "7 of the queued paused" in text
    assert "job 'minimal.daily_sales'" in text
    assert "paused  queued 7" in shop("jobs").out
    task = shop("tasks", "--json").json[0]["id"]
    assert "is paused" in shop("explain", task).out
    assert "job 'minimal.daily_sales' is resumed" in shop("resume", "job", "daily_sales").out
    assert "is not paused" in shop("resume", "job", "daily_sales", code=1).err


def test_a_paused_dataset_gathers_its_changes(shop: Knockon) -> None:
    row = shop("pause", "dataset", "orders", "--json").json
    assert (row["kind"], row["name"], row["reason"]) == ("dataset", "orders", None)
    shop("invalidate", "orders", *WEEK)
    assert "1 unplanned invalidation" in shop("status").out
    assert "1 paused" in shop("status").out
    assert "orders  paused" in shop("datasets").out
    assert shop("resume", "dataset", "orders", "--json").json["name"] == "orders"
    assert "takes no name" in shop("pause", "org", "orders", code=1).err
    assert "the org is paused" in shop("pause", "org").out


def test_tasks_are_canceled_and_retried_together(shop: Knockon) -> None:
    planned(shop, "orders", *WEEK)
    task = shop("tasks", "--json").json[0]["id"]
    assert "1 task canceled" in shop("tasks", "cancel", task, "--by", "ann").out
    assert shop("tasks", "cancel", "--job", "daily_sales", "--json").json == {"canceled": 6}
    assert shop("tasks", "retry", "--all").out == "nothing to retry: no task has failed\n"
    assert "1 canceled task to be planned anew" in shop("tasks", "retry", task).out
    counts = shop("tasks", "retry", "--status", "canceled", "--json").json
    assert (counts["queued"], counts["requested"], counts["covered"]) == (0, 7, 0)


def test_a_retry_without_tasks_gives_the_reason(shop: Knockon) -> None:
    retry = ("tasks", "retry", "--job", "daily_sales", "--status", "canceled")
    because = "no canceled task has left a partition stale"
    assert shop(*retry).out == f"nothing to retry: {because}\n"
    both = shop(*retry, "--status", "failed").out
    assert both == f"nothing to retry: no task has failed and {because}\n"
    assert "succeeded" in shop(*retry, "--status", "succeeded", code=1).err


def test_a_wait_ends_for_paused_work_and_after_its_timeout(shop: Knockon) -> None:
    text = shop("run", "daily_sales", "-p", "2026-02-03", "--wait", "--timeout", "0", code=1).err
    assert "after 0 s there is still 1 unplanned invalidation of daily_sales" in text
    shop("pause", "org", "--by", "ann")
    text = shop("invalidate", "orders", *WEEK, "--wait", code=1).err
    assert "nothing continues 1 unplanned invalidation of orders: the org is paused" in text
    assert "'knockon resume org' continues it" in text


def test_a_backfill_is_previewed_and_requested(shop: Knockon) -> None:
    text = shop("backfill", "daily_sales", "2026-02-02..2026-02-03", "--dry-run").out
    assert "2 tasks in 1 job" in text
    for preview in (("backfill", "daily_sales", "2026-02-02"), ("deploy", MINIMAL)):
        assert "leave out --wait" in shop(*preview, "--dry-run", "--wait", code=1).err
    assert shop("invalidations", "--open", "--json").json == []
    assert "requested" in shop("backfill", "daily_sales", "2026-02-02", "2026-02-03").out
    rows = shop("invalidations", "--open", "--json").json
    assert {row["dataset"] for row in rows} == {"daily_sales"}
    assert "is a source" in shop("backfill", "orders", "2026-02-02", code=1).err
