"""Commands for changes: invalidate, impact, apply, approve, reject, run and explain."""

import re
from pathlib import Path

from tests.acceptance.cli.conftest import MINIMAL, Knockon

QUOTAS = (
    "unfinished_tasks",
    "running_tasks",
    "events_per_second",
    "partitions_per_plan",
    "log_bytes",
    "jobs",
)
WEEK = ("-p", "2026-02-02..2026-02-08")


def planned(knockon: Knockon, *args: object) -> None:
    """Report a change, and plan it."""
    with knockon.running("engine", until="engine is up") as engine:
        knockon("invalidate", *args)
        engine.wait_for("invalidations=1")


def test_impact_prints_a_tree_and_runs_nothing(shop: Knockon) -> None:
    text = shop("impact", "orders", *WEEK, "-c", "amount").out
    assert "daily_sales  2026-02-02..2026-02-08  7 tasks" in text
    assert "7 tasks in 1 job; 0 edges pruned; task time unknown for 1 job" in text
    assert shop("status", "--json").json["open_invalidations"] == 0
    assert shop("tasks", "--json").json == []


def test_impact_lists_pruned_edges(shop: Knockon) -> None:
    planned(shop, "orders", *WEEK)
    view = shop("impact", "orders", *WEEK, "-c", "notes", "--json").json
    assert (view["tasks"], view["pruned"][0]["rule"]) == (0, "columns")


def test_a_previewed_plan_is_applied_once(shop: Knockon) -> None:
    text = shop("impact", "orders", *WEEK).out
    (plan,) = re.findall(r"to run exactly this plan: knockon apply (\w{8})", text)
    assert "proposed" in shop("plans").out
    assert "is applied: 7 tasks" in shop("apply", plan, "--by", "ann").out
    assert len(shop("tasks", "--json").json) == 7
    assert "is already applied" in shop("apply", plan).out
    (row, *_) = shop("plans", "--state", "applied", "--json").json
    assert (row["id"][-8:], row["datasets"], row["decided_by"]) == (plan, ["orders"], "ann")


def test_a_plan_with_differences_is_not_applied(shop: Knockon, tmp_path: Path) -> None:
    plan = shop("impact", "orders", *WEEK, "--json").json["plan_id"]
    daily = "{dt: {time: day, zone: UTC, start: 2026-01-01}}"
    file = tmp_path / "weekly.yaml"
    file.write_text(MINIMAL.read_text().replace(daily, "{dt: {time: week}}", 1))
    shop("deploy", file)
    result = shop("apply", plan, code=1)
    assert "would run differently now; nothing was written" in result.out
    assert "~ daily_sales  different  + 2026-W06  - 2026-02-02..2026-02-08" in result.out
    assert shop("apply", plan, "--json", code=1).json["changes"][0]["kind"] == "different"
    assert shop("invalidations", "--open", "--json").json == []


def test_a_plan_beyond_a_limit_waits_for_approval(shop: Knockon) -> None:
    assert "none" in shop("org").out
    assert "not a limit" in shop("org", "set", "blast_radius", "0", code=1).err
    result = shop("org", "set", "blast_radius", "5", "--json").json
    assert result == {
        "blast_radius": 5,
        "grants": "dag_files",
        "trusted": False,
        "four_eyes": False,
        **dict.fromkeys(QUOTAS),
    }
    assert "exceeds a limit: 7 partitions in all" in shop("impact", "orders", *WEEK).out
    with shop.running("engine", until="engine is up") as engine:
        shop("invalidate", "orders", *WEEK)
        engine.wait_for("plan pending approval")
    view = shop("status")
    assert "waiting for approval" in view.out
    assert "the org allows 5 in one plan" in view.out
    (plan,) = shop("status", "--json").json["pending_approval"]
    assert "pending_approval" in shop("invalidations", "--open").out
    shown = shop("plans", "show", plan["id"][-8:]).out
    assert "pending_approval" in shown
    assert "→ daily_sales  2026-02-02..2026-02-08  via orders" in shown
    assert "orders 2026-02-02..2026-02-08  manual" in shown
    assert "is applied: 7 tasks" in shop("approve", plan["id"]).out
    assert "has already been applied" in shop("reject", plan["id"], code=1).err


def test_operators_limit_an_org(shop: Knockon) -> None:
    assert "not a limit" in shop("org", "set", "running_tasks", "some", code=1).err
    assert "no quota of jobs" in shop("org", "set", "jobs", "0", code=1).err
    assert shop("org", "set", "partitions_per_plan", "5", "--json").json["partitions_per_plan"] == 5
    plan = shop("impact", "orders", *WEEK, "--json").json["plan_id"]
    error = shop("apply", plan, code=1).err
    assert "7 partitions in all; the quota of the org allows 5 in one plan" in error
    assert "knockon org set partitions_per_plan" in error
    shown = shop("org", "--json").json
    assert (shown["partitions_per_plan"], shown["usage"]["unfinished_tasks"]) == (5, 0)
    assert "used" in shop("org").out
    shop("org", "set", "partitions_per_plan", "none")
    assert "is applied: 7 tasks" in shop("apply", plan).out


def test_waiting_ends_if_nothing_will_run(shop: Knockon) -> None:
    shop("org", "set", "blast_radius", "5")
    with shop.running("engine", until="engine is up"):
        assert "knockon approve" in shop("invalidate", "orders", *WEEK, "--wait", code=1).err
    (plan,) = shop("plans", "--state", "pending_approval", "--json").json
    assert "is rejected" in shop("reject", plan["id"][-8:]).out
    assert "is already rejected" in shop("reject", plan["id"]).out
    assert shop("tasks", "--json").json == []


def test_a_repeated_key_writes_one_invalidation(shop: Knockon) -> None:
    args = ("invalidate", "orders", *WEEK, "--columns", "amount,notes", "--key", "k1")
    first = shop(*args, "--note", "late", "--json").json
    again = shop(*args, "--json").json
    assert (first["is_new"], again["is_new"]) == (True, False)
    assert first["invalidations"] == again["invalidations"]
    assert "recorded earlier with the same key" in shop(*args).out
    (invalidation,) = shop("invalidations", "--dataset", "orders", "--json").json
    assert invalidation["columns"] == ["amount", "notes"]
    assert (invalidation["partition_key"], invalidation["reason"]) == (
        "2026-02-02..2026-02-08",
        "manual",
    )
    assert "amount, notes" in shop("invalidations", "--open").out


REFUSALS = {
    ("invalidate", "nowhere"): "there is no dataset 'nowhere'",
    ("invalidate", "orders", "-p", "1999-01-01"): "1999-01-01",
    ("impact", "orders", "--rows", "{"): "--rows is not a JSON object",
    ("impact", "orders", "--rows", '{"size": 1}'): "no column 'size'",
    ("run", "orders"): "the source job 'orders' does not run",
    ("run", "daily_sale"): "did you mean 'daily_sales'",
    ("explain", "daily_sales", "*"): "give one key",
    ("tasks", "retry", "zz"): "not the id of a task",
    ("tasks", "retry"): "pass --job, --status or --all",
    ("tasks", "retry", "zz", "--all"): "name the tasks to retry",
    ("tasks", "retry", "--status", "queued"): "failed, canceled",
    ("tasks", "cancel", "zz", "--job", "daily_sales"): "name the tasks to cancel",
    ("tasks", "cancel", "--job", "daily_sale"): "did you mean 'daily_sales'",
    ("dead-letters", "replay"): "pass --all",
    ("invalidations", "replay"): "pass --all",
}


def test_invalid_requests_are_rejected_in_one_line(shop: Knockon) -> None:
    for args, message in REFUSALS.items():
        result = shop(*args, code=1)
        assert result.out == ""
        assert result.err.startswith("error: ")
        assert message in result.err


def test_run_invalidates_the_output_of_the_job(shop: Knockon) -> None:
    assert "requested" in shop("run", "daily_sales", "-p", "2026-02-03").out
    (invalidation, *_) = shop("invalidations", "--json").json
    assert (invalidation["dataset"], invalidation["partition_key"]) == ("daily_sales", "2026-02-03")


def test_lineage_prints_both_directions(shop: Knockon) -> None:
    assert "└── daily_sales" in shop("lineage").out
    assert "amount → sales" in shop("lineage", "--columns").out
    up = shop("lineage", "daily_sales", "--up", "--json").json
    assert up[0]["next"][0]["dataset"] == "orders"


def test_a_partition_is_explained(shop: Knockon) -> None:
    text = shop("explain", "daily_sales", "2026-02-03").out
    assert "daily_sales 2026-02-03  not built yet" in text
    assert "never built" in text
    assert shop("explain", "daily_sales", "2026-02-03", "--json").json["stale"] != []
