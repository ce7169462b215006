"""The nearest datasets and jobs of a dataset, and the path of a column through them."""

from engine.lineage.column_path import column_path
from engine.lineage.columns import ALL_COLUMNS
from engine.lineage.graph import Lineage
from engine.lineage.neighbourhood import Nodes, Sees, nearest, outside
from engine.model.dataset import Dataset
from engine.model.job import Job
from tests.support.lineages import dataset_id, lineage, made, reads, source

SHOP = lineage(
    source("orders"),
    source("rates"),
    made("sales", {}, "orders", "rates"),
    made("weekly", {}, "sales", also=("monthly",)),
    made("report", {}, "weekly"),
    columns=[
        "sales.total <- orders.amount",
        "sales.total <- rates.rate",
        "sales.region <- orders.region",
        "sales.* <- orders.is_test",
        "weekly.total <- sales.total",
        "monthly.total <- sales.total",
        "monthly.regions <- sales.region",
        "report.sum <- weekly.total",
    ],
)


def everything(_: object) -> bool:
    return True


def around(
    within: Lineage,
    name: str,
    up: int = 100,
    down: int = 100,
    limit: int = 300,
    sees: Sees = everything,
) -> Nodes:
    dataset = within.dataset_named(name)
    return nearest(within, dataset, upstream=up, downstream=down, limit=limit, sees=sees)


def names(nodes: Nodes) -> list[str]:
    """Datasets by name, jobs in capitals."""
    return [each.name.upper() if isinstance(each, Job) else each.name for each in nodes.values()]


def more(within: Lineage, nodes: Nodes, sees: Sees = everything) -> dict[str, tuple[int, int]]:
    """The neighbours left out upstream and downstream, by node; 100 more stands for hidden ones."""
    found = {}
    for name, node in zip(names(nodes), nodes.values(), strict=True):
        up, down = outside(within, node, nodes, sees)
        counts = (up.more + 100 * up.is_hidden, down.more + 100 * down.is_hidden)
        if any(counts):
            found[name] = counts
    return found


def test_both_directions_up_to_a_depth():
    assert names(around(SHOP, "sales", 0, 0)) == ["sales"]
    assert set(names(around(SHOP, "sales", 1, 0))) == {"sales", "SALES", "orders", "rates"}
    assert names(around(SHOP, "sales", 0, 1)) == ["sales", "WEEKLY", "weekly", "monthly"]
    assert len(around(SHOP, "sales")) == 11


def test_the_limit_is_shared_by_both_directions():
    readers = [made(f"r{number}", {}, "middle") for number in range(50)]
    inputs = [source(f"s{number}") for number in range(50)]
    wide = lineage(*inputs, made("middle", {}, *(f"s{number}" for number in range(50))), *readers)
    nodes = around(wide, "middle", limit=21)
    assert len(nodes) == 21
    assert sum(name.startswith("s") for name in names(nodes)) == 9
    # The readers come with their outputs.
    assert sum(name.startswith("r") for name in names(nodes)) == 5
    assert more(wide, nodes)["middle"] == (0, 45)
    assert more(wide, nodes)["MIDDLE"] == (41, 0)


def test_a_direction_that_ends_leaves_its_share():
    assert len(around(SHOP, "orders", limit=7)) == 7


def test_neighbours_left_out_are_counted():
    assert more(SHOP, around(SHOP, "sales")) == {}
    assert more(SHOP, around(SHOP, "sales", 1, 1)) == {
        "orders": (1, 0),
        "rates": (1, 0),
        "weekly": (0, 1),
    }
    assert more(SHOP, around(SHOP, "sales", 0, 0)) == {"sales": (1, 1)}
    assert more(SHOP, around(SHOP, "orders", 0, 1)) == {
        "orders": (1, 0),
        "SALES": (1, 0),
        "sales": (0, 1),
    }


def test_hidden_nodes_end_a_walk_and_are_not_counted():
    def sees(node: Dataset | Job) -> bool:
        return node.name not in ("sales", "rates")

    nodes = around(SHOP, "orders", 1, 100, sees=sees)
    assert names(nodes) == ["orders", "ORDERS"]
    assert more(SHOP, nodes, sees) == {"orders": (0, 100)}
    nodes = around(SHOP, "weekly", 1, 1, sees=sees)
    assert names(nodes) == ["weekly", "WEEKLY", "REPORT", "report"]
    assert more(SHOP, nodes, sees) == {"WEEKLY": (100, 1)}


def test_a_job_that_reads_its_own_output_appears_once():
    window = reads("balance", {"dt": {"from": "dt", "window": [-1, -1]}}, alias="before")
    day = {"dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"}}
    own = lineage(source("a", day), made("balance", day, "a", window))
    nodes = around(own, "balance", 1, 1)
    assert names(nodes) == ["balance", "BALANCE", "a"]
    assert more(own, nodes) == {"a": (1, 0)}


def path(name: str, column: str, within: Lineage = SHOP, up: int = 100) -> dict[str, set[str]]:
    dataset, nodes = within.dataset_named(name), around(within, name, up)
    return {
        within.dataset_named(each).name: {"*"} if columns is ALL_COLUMNS else set(columns)
        for each in sorted(within.dataset_names)
        if (columns := column_path(within, dataset, column, nodes).get(dataset_id(each).int))
        is not None
    }


def test_the_path_of_a_column_leads_both_ways():
    assert path("sales", "total") == {
        "orders": {"amount", "is_test"},
        "rates": {"rate"},
        "sales": {"total"},
        "weekly": {"total"},
        "monthly": {"total"},
        "report": {"sum"},
    }
    assert path("report", "sum") == {
        "orders": {"amount", "is_test"},
        "rates": {"rate"},
        "sales": {"total"},
        "weekly": {"total"},
        "report": {"sum"},
    }


def test_a_column_that_shapes_the_rows_leads_to_every_column():
    assert path("orders", "is_test") == {
        "orders": {"is_test"},
        "sales": {"*"},
        "weekly": {"*"},
        "monthly": {"*"},
        "report": {"*"},
    }


def test_a_column_that_nothing_reads_has_no_path():
    assert path("orders", "notes") == {"orders": {"notes"}}


def test_a_path_ends_with_the_neighbourhood():
    assert path("report", "sum", up=1) == {"report": {"sum"}, "weekly": {"total"}}


def test_unknown_column_lineage_counts_as_every_column():
    bare = lineage(source("a"), made("b", {}, "a"))
    assert path("b", "x", bare) == {"a": {"*"}, "b": {"x"}}
    assert path("a", "x", bare) == {"a": {"x"}, "b": {"*"}}


def test_a_path_follows_a_job_through_its_own_output():
    day = {"dt": {"time": "day", "start": "2013-01-01", "end": "2014-01-01"}}
    window = reads("sum", {"dt": {"from": "dt", "window": [-1, -1]}}, alias="before")
    own = lineage(
        source("a", day),
        made("sum", day, "a", window),
        columns=["sum.x <- a.x", "sum.y <- sum.x", "sum.z <- sum.y"],
    )
    assert path("a", "x", own) == {"a": {"x"}, "sum": {"x", "y", "z"}}
    assert path("sum", "z", own) == {"a": {"x"}, "sum": {"x", "y", "z"}}
