"""Outputs with two unbounded dimensions, each determined by a different input."""

from tests.support.lineages import DAY, TAIL, change, lineage, made, planned, source, steps

ROUTE = {"route": {"dynamic": True}}
WORLD = lineage(
    source("planes", TAIL),
    source("routes", ROUTE),
    source("prices"),
    made("pairs", TAIL | ROUTE, "planes", "routes", "prices"),
    made("after", TAIL | ROUTE, "pairs"),
)
NOTHING = {"pairs": None, "planes": None, "routes": None, "prices": None, "after": None}
FIRST = "tail=N1/route=A"


def test_two_new_inputs_build_their_product():
    found = planned(WORLD, change("planes", "N1"), change("routes", "A"), existing=NOTHING)
    assert steps(WORLD, found) == {"pairs": FIRST, "after": FIRST}


def test_an_input_builds_the_product_with_existing_keys_of_the_other():
    existing = NOTHING | {"planes": "N1 N2", "routes": "A"}
    found = planned(WORLD, change("routes", "B"), existing=existing)
    assert steps(WORLD, found)["pairs"] == "tail=N1/route=B tail=N2/route=B"


def test_one_input_alone_builds_nothing():
    for one, key in ("planes", "N1"), ("routes", "A"), ("prices", None):
        assert steps(WORLD, planned(WORLD, change(one, key), existing=NOTHING)) == {}


def test_an_input_without_dimensions_in_the_keys_triggers_the_product():
    existing = NOTHING | {"planes": "N1", "routes": "A"}
    found = planned(WORLD, change("prices"), existing=existing)
    assert steps(WORLD, found)["pairs"] == FIRST


def test_new_keys_are_combined_with_existing_and_new_ones():
    existing = NOTHING | {"planes": "N1", "routes": "A", "prices": "*", "pairs": FIRST}
    found = planned(WORLD, change("planes", "N2"), change("routes", "B"), existing=existing)
    assert steps(WORLD, found)["pairs"] == " ".join(
        f"tail={tail}/route={route}" for tail, route in (("N1", "B"), ("N2", "A"), ("N2", "B"))
    )


def test_a_wholly_invalidated_output_is_built():
    existing = NOTHING | {"planes": "N1", "routes": "A B"}
    found = planned(WORLD, change("pairs"), existing=existing)
    assert steps(WORLD, found)["pairs"] == "tail=N1/route=A tail=N1/route=B"


def test_unbounded_days_are_combined_with_keys():
    world = lineage(
        source("days", DAY), source("planes", TAIL), made("pairs", DAY | TAIL, "days", "planes")
    )
    existing = {"days": "2013-02-13..2013-02-14", "planes": None, "pairs": None}
    found = planned(world, change("planes", "N1"), existing=existing)
    assert steps(world, found) == {"pairs": "dt=2013-02-13..2013-02-14/tail=N1"}
