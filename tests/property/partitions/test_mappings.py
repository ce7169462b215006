"""Mappings of products, maps, ranges and `last`, checked against a relation of single keys."""

from collections.abc import Callable
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InvalidMapping
from engine.partitions import Mapping, PartitionSpace

Meets = Callable[[str, str], bool]

BUCKETS = {
    "ten": ({"range": 10, "start": -30, "end": 40}, range(-30, 40, 10), 10),
    "seven": ({"range": 7, "start": -14, "end": 35}, range(-14, 35, 7), 7),
    "twenty": ({"range": 20, "start": 0, "end": 60}, range(0, 60, 20), 20),
}
ORIGINS = ["EWR", "JFK", "LGA"]
REGIONS = ["NJ", "NY"]


def bucket_key(start: int, size: int) -> str:
    return f"{start}-{start + size - 1}"


def bucket(key: str) -> tuple[int, int]:
    middle = key.index("-", 1)
    return int(key[:middle]), int(key[middle + 1 :])


@st.composite
def ranges(draw: st.DrawFn) -> tuple[Any, list[str], Any, list[str], Any, Meets]:
    """A range dimension on each side: spec, keys, spec, keys, entry and relation."""
    (source, starts, size), (target, places, width) = (
        BUCKETS[draw(st.sampled_from(sorted(BUCKETS)))] for _ in range(2)
    )
    first, last = sorted(draw(st.tuples(st.integers(-2, 2), st.integers(-2, 2))))
    unit = draw(st.sampled_from(["output", "input"]))

    def meets(s: str, t: str) -> bool:
        lo, hi = bucket(t)
        low, high = bucket(s)
        step, sign = (width, 1) if unit == "output" else (size, -1)
        shifts = (sign * k * step for k in range(first, last + 1))
        if unit == "output":
            return any(max(low, lo + n) <= min(high, hi + n) for n in shifts)
        return any(max(low + n, lo) <= min(high + n, hi) for n in shifts)

    return (
        source, [bucket_key(n, size) for n in starts],
        target, [bucket_key(n, width) for n in places],
        {"from": "s", "window": [first, last], "unit": unit}, meets,
    )  # fmt: skip


@st.composite
def maps(draw: st.DrawFn) -> tuple[Any, list[str], Any, list[str], Any, Meets]:
    targets = st.sets(st.sampled_from(REGIONS)).map(sorted)
    table = draw(st.dictionaries(st.sampled_from(ORIGINS), targets))
    source = draw(st.sampled_from([{"static": ORIGINS}, {"dynamic": True}]))
    entry = {"from": "s", "map": table}
    return source, ORIGINS, {"static": REGIONS}, REGIONS, entry, lambda s, t: t in table.get(s, [])


def identities() -> st.SearchStrategy[tuple[Any, list[str], Any, list[str], Any, Meets]]:
    two = ORIGINS[:2]
    return st.just(({"static": ORIGINS}, ORIGINS, {"static": two}, two, "s", str.__eq__))


axes = st.one_of(ranges(), maps(), identities())


def join(parts: tuple[str, ...], names: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return "/".join(f"{name}={part}" for name, part in zip(names, parts, strict=True))


@settings(deadline=None, max_examples=100)
@given(st.lists(axes, min_size=1, max_size=2), st.data())
def test_a_product_relates_keys_by_each_dimension(drawn: list[Any], data: st.DataObject) -> None:
    sources = [f"s{i}" for i in range(len(drawn))]
    targets = [f"t{i}" for i in range(len(drawn))]
    turned = data.draw(st.permutations(range(len(drawn))))  # dimensions may be in any order
    source = PartitionSpace.from_spec({f"s{i}": drawn[i][0] for i in range(len(drawn))})
    target = PartitionSpace.from_spec({f"t{i}": drawn[i][2] for i in turned})
    spec = {}
    unmapped = data.draw(st.sets(st.sampled_from(range(len(drawn)))))
    for i, (*_, entry, _) in enumerate(drawn):
        named = f"s{i}" if isinstance(entry, str) else {**entry, "from": f"s{i}"}
        spec[targets[i]] = "all" if i in unmapped else named
    mapping = Mapping.from_spec(spec, source, target, "test")
    assert Mapping.from_spec(mapping.to_spec(), source, target) == mapping

    source_points = list(product(*(axis[1] for axis in drawn)))
    target_points = list(product(*(axis[3] for axis in drawn)))

    def source_key(point: tuple[str, ...]) -> str:
        return join(point, sources)

    def target_key(point: tuple[str, ...]) -> str:
        return join(tuple(point[i] for i in turned), [targets[i] for i in turned])

    def meets(s: tuple[str, ...], t: tuple[str, ...]) -> bool:
        return all(i in unmapped or axis[5](s[i], t[i]) for i, axis in enumerate(drawn))

    touched = data.draw(st.lists(st.sampled_from(source_points), max_size=6))
    down = mapping.down(source.from_keys(map(source_key, touched)))
    assert set(target.keys(down)) == {
        target_key(t) for t in target_points if any(meets(s, t) for s in touched)
    }

    needed = data.draw(st.lists(st.sampled_from(target_points), max_size=6))
    up = mapping.up(target.from_keys(map(target_key, needed)))
    existing = source.from_keys(map(source_key, source_points))
    assert set(source.keys(up & existing)) == {
        source_key(s) for s in source_points if any(meets(s, t) for t in needed)
    }


DAYS = [f"2013-02-{day:02}" for day in range(1, 15)]
DAILY = {"time": "day", "start": DAYS[0], "end": "2013-02-15"}
SPACES = {
    "nothing": PartitionSpace(),
    "day": PartitionSpace.from_spec({"dt": DAILY}),
    "open day": PartitionSpace.from_spec({"dt": {"time": "day"}}),
    "day origin": PartitionSpace.from_spec({"dt": DAILY, "origin": {"static": ORIGINS}}),
    "month": PartitionSpace.from_spec({"dt": {"time": "month"}}),
}
SPECS = [
    *("identity", "all", "last", None),
    {"dt": "last"},
    {"dt": "all"},
    {"dt": "last", "origin": "origin"},
    {"dt": {"window": [-6, 0]}},
    {"dt": {"window": [-6, 1], "unit": "input"}},
    {"dt": {"last": True}},
    {"dt": {"from": "origin", "last": True}},
    {"dt": "dt", "origin": "last"},
    {"origin": "last"},
]


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(SPACES)), st.sampled_from(sorted(SPACES)), st.sampled_from(SPECS),
       st.data())  # fmt: skip
def test_down_and_up_are_inverses(source: str, target: str, spec: Any, data: st.DataObject) -> None:
    try:
        mapping = Mapping.from_spec(spec, SPACES[source], SPACES[target])
    except InvalidMapping:
        return

    def some(name: str) -> list[str]:
        if name == "nothing":
            return ["*"]
        if name == "month":
            return ["2013-01", "2013-02", "2013-03"]
        return (
            [join((d, o), ["dt", "origin"]) for d in DAYS for o in ORIGINS]
            if name == "day origin"
            else DAYS
        )

    existing = data.draw(
        st.none()
        | st.lists(st.sampled_from(some(source)), min_size=1).map(mapping.source.from_keys)
    )
    s = mapping.source.parse(data.draw(st.sampled_from(some(source))))
    t = mapping.target.parse(data.draw(st.sampled_from(some(target))))
    assert mapping.down(s, existing).covers(t) is mapping.up(t, existing).covers(s)
    assert mapping.source.universe.covers(mapping.up(t, existing))
    assert mapping.target.universe.covers(mapping.down(s, existing))
    assert not mapping.down(mapping.source.empty, existing)
    assert not mapping.up(mapping.target.empty, existing)
