"""Saying that something is stale, seeing what that hits, and asking why."""

from tests.acceptance.cli.conftest import Knockon

WEEK = ("-p", "2026-02-02..2026-02-08")


def test_impact_draws_a_tree_and_writes_nothing(shop: Knockon) -> None:
    text = shop("impact", "orders", *WEEK, "-c", "amount").out
    assert "daily_sales  2026-02-02..2026-02-08  7 tasks" in text
    assert "7 tasks in 1 job" in text
    assert shop("status", "--json").json["open_invalidations"] == 0
    view = shop("impact", "orders", *WEEK, "-c", "notes", "--json").json
    assert (view["tasks"], view["pruned"][0]["rule"]) == (0, "columns")


def test_invalidate_writes_a_fact_once_for_a_key(shop: Knockon) -> None:
    args = ("invalidate", "orders", *WEEK, "--columns", "amount,notes", "--key", "k1")
    first = shop(*args, "--note", "late", "--json").json
    again = shop(*args, "--json").json
    assert (first["is_new"], again["is_new"]) == (True, False)
    assert first["invalidations"] == again["invalidations"]
    assert "known already by its key" in shop(*args).out
    (fact,) = shop("invalidations", "--dataset", "orders", "--json").json
    assert fact["columns"] == ["amount", "notes"]
    assert (fact["partition_key"], fact["reason"]) == ("2026-02-02..2026-02-08", "manual")
    assert "amount, notes" in shop("invalidations", "--open").out


REFUSALS = {
    ("invalidate", "nowhere"): "there is no dataset nowhere",
    ("invalidate", "orders", "-p", "1999-01-01"): "1999-01-01",
    ("impact", "orders", "--rows", "{"): "--rows is not a JSON object",
    ("impact", "orders", "--rows", '{"size": 1}'): "no column 'size'",
    ("run", "orders"): "nothing runs for the source job",
    ("run", "daily_sale"): "did you mean 'daily_sales'",
    ("explain", "daily_sales", "*"): "give one key",
    ("tasks", "retry", "zz"): "no id of a task",
    ("dead-letters", "replay"): "say --all",
}


def test_what_makes_no_sense_is_refused_in_a_line(shop: Knockon) -> None:
    for args, message in REFUSALS.items():
        result = shop(*args, code=1)
        assert result.out == ""
        assert result.err.startswith("error: ")
        assert message in result.err


def test_run_asks_for_the_jobs_output(shop: Knockon) -> None:
    assert "is to run" in shop("run", "daily_sales", "-p", "2026-02-03").out
    (fact, *_) = shop("invalidations", "--json").json
    assert (fact["dataset"], fact["partition_key"]) == ("daily_sales", "2026-02-03")


def test_lineage_draws_both_directions(shop: Knockon) -> None:
    assert "└── daily_sales" in shop("lineage").out
    assert "amount → sales" in shop("lineage", "--columns").out
    up = shop("lineage", "daily_sales", "--up", "--json").json
    assert up[0]["next"][0]["dataset"] == "orders"


def test_a_partition_says_how_it_stands(shop: Knockon) -> None:
    text = shop("explain", "daily_sales", "2026-02-03").out
    assert "daily_sales 2026-02-03  stale" in text
    assert "it has never been made" in text
    assert shop("explain", "daily_sales", "2026-02-03", "--json").json["stale"] != []
