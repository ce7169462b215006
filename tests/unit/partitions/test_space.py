from typing import Any

import pytest

from engine.errors import InvalidPartition
from engine.partitions import DimensionValue, Mapping, PartitionSpace
from engine.partitions.key_dimension import check_key

FLIGHTS = {
    "dt": {
        "time": "day",
        "zone": "America/New_York",
        "start": "2013-01-01",
        "end": "2014-01-01",
        "column": "flight_date",
    },
    "bucket": {"range": 10000, "start": 0, "end": 1000000},
    "origin": {"static": ["EWR", "JFK", "LGA"]},
    "tail": {"dynamic": True},
}


def only(*names: str) -> PartitionSpace:
    return PartitionSpace.from_spec({name: FLIGHTS[name] for name in names})


def test_a_spec_reads_back_unchanged() -> None:
    assert PartitionSpace.from_spec(FLIGHTS).to_spec() == FLIGHTS
    assert PartitionSpace.from_spec(None).to_spec() == {}


def test_spaces_with_equal_keys_and_different_columns_are_equal() -> None:
    bare = {name: value for name, value in FLIGHTS["dt"].items() if name != "column"}
    other = PartitionSpace.from_spec({"dt": bare})
    assert other == only("dt")
    assert hash(other) == hash(only("dt"))
    assert other != only("origin")


@pytest.mark.parametrize(
    ("name", "changes", "is_alike"),
    [
        ("dt", {"end": "2015-01-01"}, True),
        ("dt", {"start": None, "end": None}, True),
        ("dt", {"start": "2013-01-02"}, True),
        ("dt", {"zone": "UTC"}, False),
        ("dt", {"column": "day"}, False),
        ("bucket", {"start": -10000}, True),
        ("bucket", {"range": 5000}, False),
        ("origin", {"static": ["BOS", "EWR", "JFK", "LGA"]}, True),
        ("origin", {"static": ["LGA", "JFK", "EWR"]}, True),
        ("origin", {"dynamic": True, "static": None}, False),
        ("tail", {}, True),
    ],
)
def test_spaces_are_alike_if_common_keys_have_the_same_meaning(
    name: str, changes: dict[str, Any], is_alike: bool
) -> None:
    spec = {key: value for key, value in (FLIGHTS[name] | changes).items() if value is not None}
    assert PartitionSpace.from_spec({name: spec}).is_alike(only(name)) is is_alike
    assert not only("dt", "origin").is_alike(only("dt"))


def test_the_common_part_of_an_alike_space_is_taken() -> None:
    fewer = PartitionSpace.from_spec({"origin": {"static": ["LGA", "JFK"]}})
    taken = fewer.part_of(only("origin").parse("EWR..JFK"))
    assert fewer.texts(taken) == ["JFK"]


@pytest.mark.parametrize(
    ("names", "text", "texts"),
    [
        (["dt"], "2013-02-13", ["2013-02-13"]),
        (["dt"], "dt=2013-02-13", ["2013-02-13"]),
        (["dt"], "2013-12-30..", ["2013-12-30..2013-12-31"]),
        (["dt"], None, ["*"]),
        (["dt"], "2013-01-01..2013-12-31", ["*"]),
        (["dt", "origin"], "origin=JFK/dt=2013-02-13", ["dt=2013-02-13/origin=JFK"]),
        (["dt", "origin"], "origin=JFK", ["origin=JFK"]),
        (["dt", "origin"], "dt=*/origin=EWR..LGA", ["*"]),
        (["bucket"], "0-9999..20000-29999", ["0-9999..20000-29999"]),
        (["tail"], "!N1,N2", ["!N1,N2"]),
        ([], "*", ["*"]),
    ],
)
def test_texts_are_parsed_and_formatted(
    names: list[str], text: str | None, texts: list[str]
) -> None:
    space = only(*names)
    assert space.texts(space.parse(text)) == texts


def test_adjacent_keys_become_one_range() -> None:
    space = only("dt", "origin")
    keys = [f"dt=2013-02-{day:02}/origin={o}" for day in (3, 1, 2) for o in ("JFK", "EWR")]
    assert space.texts(space.from_keys(keys)) == [
        "dt=2013-02-01..2013-02-03/origin=EWR",
        "dt=2013-02-01..2013-02-03/origin=JFK",
    ]


@pytest.mark.parametrize(
    ("names", "text", "message"),
    [
        (["dt"], "2014-01-01", r"dimension 'dt': '2014-01-01' is out of bounds; .*2013-12-31"),
        (["dt"], "2013-12-30..2014-01-02", "out of bounds"),
        (["dt"], "2013-02-02..2013-02-01", r"ends before it starts; write 2013-02-01\.\."),
        (["dt"], "..", "not a day"),
        (["dt"], "", "not a day"),
        (["dt"], "01/02/2026", "'01/02/2026' is not a day in .*write one like"),
        (["tail"], "a/b", "'a/b' cannot be a key"),
        (["dt"], "day=2013-02-13", r"names no dimension.*write dt="),
        (["dt", "origin"], "2013-02-13", "names no dimension"),
        (["dt", "origin"], "origin=JFK/origin=EWR", "'origin' occurs twice"),
        (["origin"], "SFO", r"'SFO' is not among the keys; write one like EWR"),
        (["origin"], "LGA..EWR", "ends before it starts"),
        (["bucket"], "5-10004", r"not a bucket of 10000; write .* 0-9999"),
        (["bucket"], "00-9999", "not a bucket"),
        (["bucket"], "1000000-1009999", "out of bounds"),
        (["tail"], "a..b", "cannot be a key"),
        (["tail"], "", "cannot be a key"),
        (["tail"], "a,b", "cannot be a key"),
        ([], "2013-02-13", r"names no dimension.*write \*"),
    ],
)
def test_an_invalid_text_is_rejected(names: list[str], text: str, message: str) -> None:
    space = only(*names)
    with pytest.raises(InvalidPartition, match=message):
        space.parse(text)
    with pytest.raises(InvalidPartition, match=message):
        space.from_keys([text])


def test_a_key_has_a_value_for_each_dimension() -> None:
    values = only("bucket", "origin").values("bucket=10000-19999/origin=JFK")
    assert values == {
        "bucket": DimensionValue("10000-19999", 10000, 20000),
        "origin": DimensionValue("JFK"),
    }
    assert only().values("*") == {}


@pytest.mark.parametrize(
    "text", ["*", "dt=2013-02-13", "dt=2013-02-13/tail=*", "dt=2013-02-13/tail=!N1"]
)
def test_a_set_has_no_values(text: str) -> None:
    with pytest.raises(InvalidPartition):
        only("dt", "tail").values(text)


def test_negative_buckets_have_unambiguous_keys() -> None:
    space = PartitionSpace.from_spec({"n": {"range": 10, "start": -20, "end": 10}})
    assert list(space.keys(space.universe)) == ["-20--11", "-10--1", "0-9"]
    assert space.values("-10--1")["n"] == DimensionValue("-10--1", -10, 0)


def test_an_unbounded_set_is_neither_listed_nor_counted() -> None:
    space = only("tail")
    with pytest.raises(InvalidPartition, match="unbounded"):
        space.keys(space.universe)
    with pytest.raises(InvalidPartition, match="counted"):
        space.universe.count()


def test_blocks_follow_the_grid_of_the_first_ordered_dimension() -> None:
    space = only("origin", "bucket")
    some = space.parse("origin=EWR..JFK/bucket=20000-29999..40000-49999")
    assert list(space.blocks(some, 2)) == [
        (
            "origin=EWR/bucket=20000-29999",
            ["origin=EWR/bucket=20000-29999", "origin=EWR/bucket=30000-39999"],
        ),
        ("origin=EWR/bucket=40000-49999", ["origin=EWR/bucket=40000-49999"]),
        (
            "origin=JFK/bucket=20000-29999",
            ["origin=JFK/bucket=20000-29999", "origin=JFK/bucket=30000-39999"],
        ),
        ("origin=JFK/bucket=40000-49999", ["origin=JFK/bucket=40000-49999"]),
    ]


def test_a_block_key_may_precede_the_bounds() -> None:
    space = PartitionSpace.from_spec({"n": {"range": 1, "start": 3, "end": 9}})
    assert list(space.blocks(space.parse("3-3"), 4)) == [("0-0", ["3-3"])]


def test_sets_of_different_spaces_cannot_be_combined() -> None:
    with pytest.raises(InvalidPartition, match="do not mix"):
        only("dt").universe | only("origin").universe


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"dt": {}}, "exactly one of time, every, cron, range, static, dynamic"),
        ({"dt": "day"}, "exactly one of"),
        ({"dt": {"time": "day", "range": 1}}, "exactly one of"),
        ({"dt": {"time": "day", "size": 1}}, "unknown field 'size'"),
        ({"dt": {"time": 5}}, "time is 5; set a value of type str"),
        ({"n": {"range": 0}}, "dimension 'n': a range of size 0"),
        ({"n": {"range": 10, "start": 5, "end": 5}}, "no integer lies in"),
        ({"dt": {"time": "day", "start": "2013-02-01", "end": "2013-01-01"}}, "no day is in"),
        ({"dt": {"time": "day", "start": "2013"}}, r"dimension 'dt': start: '2013' is not a day"),
        ({"o": {"static": []}}, "list each key once"),
        ({"o": {"static": ["A", "A"]}}, "list each key once"),
        ({"o": {"static": ["a/b"]}}, "'a/b' cannot be a key"),
        ({"o": {"dynamic": False}}, "must be true"),
        ({"a=b": {"dynamic": True}}, "'a=b' cannot be a key"),
    ],
)
def test_an_invalid_spec_is_rejected(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPartition, match=message):
        PartitionSpace.from_spec(spec)


@pytest.mark.parametrize("value", [2**62, -(2**62), 2**63, 2**100, 10**6 - 2**127, 2**127 - 10**6])
@pytest.mark.parametrize(("size", "other"), [(10, 1000), (1000, 10)])
def test_large_integers_are_no_open_ends(value: int, size: int, other: int) -> None:
    source, target = (PartitionSpace.from_spec({"n": {"range": each}}) for each in (size, other))
    low = value // size * size
    partitions = source.from_keys([f"0-{size - 1}", f"{low}-{low + size - 1}"])
    reached = Mapping.from_spec(None, source, target).down(partitions)
    assert reached.is_finite
    assert reached.covers(target.parse(f"0-{other - 1}"))
    assert reached.covers(
        target.parse(f"{low // other * other}-{low // other * other + other - 1}")
    )


@pytest.mark.parametrize("key", [f"{2**127}-{2**127 + 9}", f"{10**60}-{10**60 + 9}"])
def test_integers_beyond_128_bits_are_refused(key: str) -> None:
    with pytest.raises(InvalidPartition, match="128 bits"):
        PartitionSpace.from_spec({"n": {"range": 10}}).parse(key)
    with pytest.raises(InvalidPartition, match="128 bits"):
        PartitionSpace.from_spec({"n": {"range": 10, "end": 2**127}})


def test_a_key_has_at_most_a_hundred_characters():
    assert check_key("x" * 100, "k") == "x" * 100
    with pytest.raises(InvalidPartition, match="101 characters"):
        check_key("x" * 101, "k")
