from typing import Any

import pytest

from engine.errors import InvalidMapping
from engine.partitions import Mapping, PartitionSpace, infer

NEW_YORK = "America/New_York"
HOURS = PartitionSpace.from_spec({"hour": {"time": "hour", "zone": NEW_YORK}})
DAYS = PartitionSpace.from_spec(
    {"dt": {"time": "day", "zone": NEW_YORK, "start": "2013-01-01", "end": "2014-01-01"}}
)
OPEN_DAYS = PartitionSpace.from_spec({"dt": {"time": "day"}})
MONTHS = PartitionSpace.from_spec({"dt": {"time": "month"}})
WHOLE = PartitionSpace()
BY_ORIGIN = PartitionSpace.from_spec(
    {"dt": {"time": "day"}, "origin": {"static": ["EWR", "JFK", "LGA"]}}
)
BY_REGION = PartitionSpace.from_spec({"dt": {"time": "month"}, "region": {"static": ["NJ", "NY"]}})
ORIGINS = PartitionSpace.from_spec({"origin": {"dynamic": True}})
REGIONAL = {
    "dt": "dt",
    "region": {"from": "origin", "map": {"JFK": ["NY"], "LGA": "NY", "EWR": "NJ"}},
}


def down(mapping: Mapping, text: str, existing: str | None = None) -> list[str]:
    exists = None if existing is None else mapping.source.parse(existing)
    return mapping.target.texts(mapping.down(mapping.source.parse(text), exists))


def up(mapping: Mapping, text: str, existing: str | None = None) -> list[str]:
    exists = None if existing is None else mapping.source.parse(existing)
    return mapping.source.texts(mapping.up(mapping.target.parse(text), exists))


@pytest.mark.parametrize(
    ("source", "target", "spec"),
    [
        (DAYS, DAYS, "identity"),
        (HOURS, DAYS, {"dt": "hour"}),
        (DAYS, WHOLE, "all"),
        (WHOLE, DAYS, "all"),
        (DAYS, BY_ORIGIN, {"dt": "dt", "origin": "all"}),
        (BY_ORIGIN, MONTHS, {"dt": "dt"}),
        (BY_ORIGIN, ORIGINS, {"origin": "origin"}),
    ],
)
def test_unambiguous_mappings_are_inferred(
    source: PartitionSpace, target: PartitionSpace, spec: Any
) -> None:
    assert infer(source, target) == spec
    assert Mapping.from_spec(None, source, target).to_spec() == spec


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ({"dt": {"time": "day"}}, {"origin": {"dynamic": True}}, "share no dimension"),
        ({"dt": {"time": "day"}}, {"dt": {"dynamic": True}}, "a different kind on each side"),
        (
            {"a": {"time": "day"}, "b": {"time": "day"}},
            {"c": {"time": "day"}},
            r"any of \['a', 'b'\] could map to any of \['c'\]",
        ),
    ],
)
def test_ambiguous_mappings_must_be_declared(source: Any, target: Any, message: str) -> None:
    spaces = PartitionSpace.from_spec(source), PartitionSpace.from_spec(target)
    with pytest.raises(InvalidMapping, match=f"job a, input b: .*{message}.*DAG file"):
        Mapping.from_spec(None, *spaces, "job a, input b")


def test_a_day_needs_its_25_hours() -> None:
    mapping = Mapping.from_spec(None, HOURS, DAYS)
    assert mapping.up(DAYS.parse("2013-11-03")).count() == 25
    assert down(mapping, "2013-11-03T01-0500") == ["2013-11-03"]


def test_a_utc_day_overlaps_two_days_of_new_york() -> None:
    mapping = Mapping.from_spec(None, OPEN_DAYS, DAYS)
    assert down(mapping, "2013-02-13") == ["2013-02-12..2013-02-13"]
    assert down(mapping, "2013-01-01") == ["2013-01-01"]  # clamped


def test_a_window_may_span_a_trailing_week() -> None:
    mapping = Mapping.from_spec({"dt": {"window": [-6, 0]}}, OPEN_DAYS, OPEN_DAYS)
    assert up(mapping, "2013-02-13") == ["2013-02-07..2013-02-13"]
    assert down(mapping, "2013-02-13") == ["2013-02-13..2013-02-19"]


def test_offsets_count_in_output_units() -> None:
    mapping = Mapping.from_spec({"dt": {"from": "dt", "window": [-1, 0]}}, OPEN_DAYS, MONTHS)
    assert up(mapping, "2013-02") == ["2013-01-01..2013-02-28"]
    assert down(mapping, "2013-01-31") == ["2013-01..2013-02"]


def test_a_skipped_day_counts_in_offsets_and_needs_no_input() -> None:
    apia = PartitionSpace.from_spec({"dt": {"time": "day", "zone": "Pacific/Apia"}})
    mapping = Mapping.from_spec({"dt": {"window": [-1, -1]}}, OPEN_DAYS, apia)
    assert up(mapping, "2011-12-31") == []
    assert down(mapping, "2011-12-28..2011-12-31") == [
        "2011-12-28..2011-12-29",
        "2012-01-01..2012-01-02",
    ]


def test_a_product_may_combine_a_map_and_a_window() -> None:
    mapping = Mapping.from_spec(REGIONAL, BY_ORIGIN, BY_REGION)
    assert down(mapping, "dt=2013-02-13/origin=LGA") == ["dt=2013-02/region=NY"]
    days = "dt=2013-02-01..2013-02-28"
    assert up(mapping, "dt=2013-02/region=NY") == [f"{days}/origin=JFK", f"{days}/origin=LGA"]


def test_last_is_the_greatest_known_partition() -> None:
    mapping = Mapping.from_spec("last", DAYS, WHOLE)
    existing = "2013-02-01..2013-02-03"
    assert down(mapping, "2013-02-02", existing) == []
    assert down(mapping, "2013-02-03", existing) == ["*"]
    assert up(mapping, "*", existing) == ["2013-02-03"]


def test_last_without_known_partitions_is_the_end_of_the_universe_or_everything() -> None:
    assert up(Mapping.from_spec("last", DAYS, WHOLE), "*") == ["2013-12-31"]
    endless = Mapping.from_spec("last", OPEN_DAYS, WHOLE)
    assert down(endless, "2013-02-02") == ["*"]
    assert endless.up(WHOLE.universe) == OPEN_DAYS.universe


def test_last_may_apply_to_one_dimension_of_a_product() -> None:
    target = PartitionSpace.from_spec({"origin": {"static": ["EWR", "JFK", "LGA"]}})
    mapping = Mapping.from_spec("last", BY_ORIGIN, target)
    assert up(mapping, "JFK", "dt=2013-02-01..2013-02-03") == ["dt=2013-02-03"]
    assert down(mapping, "dt=2013-02-03/origin=JFK", "dt=2013-02-01..2013-02-03") == ["*"]


def test_last_prefers_the_only_time_dimension_to_ranges() -> None:
    source = PartitionSpace.from_spec({"bucket": {"range": 10}, "dt": {"time": "day"}})
    mapping = Mapping.from_spec("last", source, WHOLE)
    existing = "bucket=0-9/dt=2013-02-01..2013-02-03"
    assert up(mapping, "*", existing) == ["dt=2013-02-03"]


def test_identity_keeps_the_set_in_the_space_of_the_target() -> None:
    days = DAYS.parse("2013-02-13")
    assert Mapping.from_spec("identity", DAYS, DAYS).down(days) is days
    twin = PartitionSpace.from_spec(DAYS.to_spec())
    assert Mapping.from_spec("identity", DAYS, twin).down(days).space is twin


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (7, "7 is not a mapping"),
        ("identity", "identity needs the same dimensions"),
        ({"zz": "all"}, "the output has no dimension 'zz'"),
        ({"dt": "nope"}, "the input has no dimension 'nope'"),
        ({"dt": 5}, "'dt' has 5"),
        ({"dt": {"form": "dt"}}, "'dt' has"),
        ({"dt": "origin"}, "which has another kind"),
        ({"dt": {"window": [1, 0]}}, r"the window \[1, 0\]"),
        ({"dt": {"window": [0, True]}}, "the window"),
        ({"dt": {"map": {"a": "b"}}}, "between static or dynamic dimensions"),
        ({"region": {"from": "origin", "window": [0, 1]}}, "has no order"),
        ({"region": {"from": "origin", "map": {"SFO": "NY"}}}, "'SFO' is not among the keys"),
        ({"region": {"from": "origin", "map": {"JFK": "CA"}}}, "'CA' is not among the keys"),
        ({"region": {"from": "origin", "map": {}, "window": [0, 0]}}, "both a map and a window"),
        ({"dt": "dt", "region": "last"}, "uses an input dimension twice"),
    ],
)
def test_an_invalid_spec_is_rejected(spec: Any, message: str) -> None:
    with pytest.raises(InvalidMapping, match=f"job a, input b: .*{message}"):
        Mapping.from_spec(spec, BY_ORIGIN, BY_REGION, "job a, input b")


def test_identity_requires_the_same_grid() -> None:
    with pytest.raises(InvalidMapping, match="identity needs the same keys"):
        Mapping.from_spec("identity", OPEN_DAYS, DAYS)


def test_last_requires_an_ordered_dimension() -> None:
    with pytest.raises(InvalidMapping, match=r"no dimension of the input .* has a last key; take"):
        Mapping.from_spec("last", ORIGINS, WHOLE)


TWO_TIMES = PartitionSpace.from_spec({"u1": {"time": "day"}, "u2": {"time": "day"}})
LISTED = PartitionSpace.from_spec({"version": {"static": ["v1", "v2", "v10"]}})


def test_offsets_may_count_inputs() -> None:
    spec = {"dt": {"from": "hour", "window": [-2, 0], "unit": "input"}}
    mapping = Mapping.from_spec(spec, HOURS, DAYS)
    assert up(mapping, "2013-03-10") == ["2013-03-09T22..2013-03-10T23"]
    assert down(mapping, "2013-03-09T21") == ["2013-03-09"]
    assert down(mapping, "2013-03-09T22") == ["2013-03-09..2013-03-10"]
    assert Mapping.from_spec(mapping.to_spec(), HOURS, DAYS) == mapping


def test_offsets_that_count_inputs_reach_beyond_the_bounds_of_outputs() -> None:
    spec = {"dt": {"from": "hour", "window": [1, 25], "unit": "input"}}
    mapping = Mapping.from_spec(spec, HOURS, DAYS)
    assert up(mapping, "2013-12-31") == ["2013-12-31T01..2014-01-02T00"]
    assert down(mapping, "2014-01-02T00") == ["2013-12-31"]


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        ({"u1": "last"}, WHOLE),
        ({"dt": {"from": "u1", "last": True}}, OPEN_DAYS),
        ({"u1": "last"}, OPEN_DAYS),
        ({"u1": {"last": True}}, PartitionSpace.from_spec({"u1": {"time": "month"}})),
    ],
)
def test_last_selects_one_of_several_dimensions(spec: Any, target: PartitionSpace) -> None:
    mapping = Mapping.from_spec(spec, TWO_TIMES, target)
    existing = "u1=2013-02-01..2013-02-03/u2=2013-02-05"
    assert mapping.source.texts(mapping.up(target.universe, mapping.source.parse(existing))) == [
        "u1=2013-02-03"
    ]
    assert Mapping.from_spec(mapping.to_spec(), TWO_TIMES, target) == mapping


def test_an_ambiguous_last_is_rejected_with_the_mappings_to_choose_from() -> None:
    message = r"last could mean any of \['u1', 'u2'\]; write {u1: last} or {u2: last}"
    with pytest.raises(InvalidMapping, match=message):
        Mapping.from_spec("last", TWO_TIMES, WHOLE)
    message = "write {dt: {from: u1, last: true}} or {dt: {from: u2, last: true}}"
    with pytest.raises(InvalidMapping, match=message):
        Mapping.from_spec({"dt": "last"}, TWO_TIMES, OPEN_DAYS)
    for spec in ({"u1": "last"}, {"u2": "last"}):
        assert Mapping.from_spec(spec, TWO_TIMES, WHOLE).takes_last
    for origin in ("u1", "u2"):
        spec = {"dt": {"from": origin, "last": True}}
        assert Mapping.from_spec(spec, TWO_TIMES, OPEN_DAYS).takes_last


@pytest.mark.parametrize("spec", ["last", {"version": "last"}])
def test_the_last_of_a_list_follows_its_order(spec: Any) -> None:
    mapping = Mapping.from_spec(spec, LISTED, WHOLE)
    assert up(mapping, "*") == ["v10"]
    assert up(mapping, "*", "v1..v2") == ["v2"]
    assert down(mapping, "v1", "v1..v2") == []
    assert down(mapping, "v2", "v1..v2") == ["*"]


def test_the_last_key_of_one_dimension_is_combined_with_equal_keys_of_another() -> None:
    source = PartitionSpace.from_spec(
        {"version": {"static": ["v1", "v2"]}, "origin": {"dynamic": True}}
    )
    mapping = Mapping.from_spec({"origin": "origin", "version": "last"}, source, ORIGINS)
    assert up(mapping, "JFK", "version=v1") == ["version=v1/origin=JFK"]
    assert up(mapping, "JFK") == ["version=v2/origin=JFK"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"dt": {"from": "u1", "unit": "input"}}, "together with a window such as"),
        ({"dt": {"from": "u1", "window": [0, 1], "unit": "hour"}}, "has the unit 'hour'; write in"),
        ({"dt": {"from": "u1", "last": False}}, r"has .*; write {\"from\": u1, \"last\": true}"),
        ({"dt": {"from": "u1", "last": True, "window": [0, 1]}}, "has .*; write {"),
        ({"dt": {"from": "u3", "last": True}}, "the input has no dimension 'u3'"),
        ({"u3": "last"}, "the output has no dimension 'u3'"),
        ({"dt": "u1", "u1": "last"}, "uses an input dimension twice"),
    ],
)
def test_an_invalid_unit_or_last_is_rejected(spec: Any, message: str) -> None:
    with pytest.raises(InvalidMapping, match=message):
        Mapping.from_spec(spec, TWO_TIMES, OPEN_DAYS)


def test_a_dynamic_dimension_has_no_last_key() -> None:
    with pytest.raises(InvalidMapping, match="'origin' has no last key; take the last key of a"):
        Mapping.from_spec({"dt": {"from": "origin", "last": True}}, ORIGINS, OPEN_DAYS)
