"""Sets of partitions, checked against Python sets of keys."""

from itertools import product
from operator import and_, or_, sub

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.partitions import PartitionSet, PartitionSpace

# Each dimension with all its keys in order. A dynamic dimension is unbounded: "other" represents
# the rest.
DIMENSIONS = {
    "dt": (
        {"time": "day", "zone": "America/New_York", "start": "2013-03-08", "end": "2013-03-14"},
        [f"2013-03-{day:02}" for day in range(8, 14)],
    ),
    "bucket": (
        {"range": 10, "start": -20, "end": 30},
        ["-20--11", "-10--1", "0-9", "10-19", "20-29"],
    ),
    "origin": ({"static": ["LGA", "EWR", "JFK"]}, ["LGA", "EWR", "JFK"]),
    "tail": ({"dynamic": True}, ["N1", "N2", "N3", "other"]),
}


class World:
    """A space with a membership test for single keys."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.space = PartitionSpace.from_spec({name: DIMENSIONS[name][0] for name in names})
        parts = [[(name, key) for key in DIMENSIONS[name][1]] for name in names]
        self.keys = [self.text(point) for point in product(*parts)]

    def text(self, point: tuple[tuple[str, str], ...]) -> str:
        if len(point) == 1:
            return point[0][1]
        return "/".join(f"{name}={key}" for name, key in point) or "*"

    def members(self, partitions: PartitionSet) -> set[str]:
        return {key for key in self.keys if partitions.covers(self.space.parse(key))}


_NAMES = [(), ("dt",), ("tail",), ("origin",), ("dt", "origin"), ("origin", "bucket"),
          ("tail", "dt"), ("dt", "bucket", "origin")]  # fmt: skip
WORLDS = {names: World(names) for names in _NAMES}
worlds = st.sampled_from(_NAMES).map(WORLDS.__getitem__)


@st.composite
def part_texts(draw: st.DrawFn, name: str) -> tuple[str, set[str]]:
    """A text for one dimension, and the expected keys."""
    keys = DIMENSIONS[name][1]
    lo, hi = sorted(draw(st.tuples(*[st.integers(0, len(keys) - 1)] * 2)))
    if name == "tail":
        key = keys[lo]
        return draw(st.sampled_from([(key, {key}), ("!" + key, set(keys) - {key})]))
    return (keys[lo] if lo == hi else f"{keys[lo]}..{keys[hi]}"), set(keys[lo : hi + 1])


@st.composite
def sets(draw: st.DrawFn, world: World) -> tuple[PartitionSet, set[str]]:
    """A union of random boxes, and its keys."""
    partitions, keys = world.space.empty, set()
    for _ in range(draw(st.integers(0, 4))):
        named = draw(st.permutations(world.names))[draw(st.integers(0, 1)) :]
        parts = {name: draw(part_texts(name)) for name in named}
        text = "/".join(f"{name}={part}" for name, (part, _) in parts.items()) or "*"
        partitions |= world.space.parse(text)
        named_keys = {name: part_keys for name, (_, part_keys) in parts.items()}
        held = [
            [(name, key) for key in DIMENSIONS[name][1] if key in named_keys.get(name, (key,))]
            for name in world.names
        ]
        keys |= {world.text(point) for point in product(*held)}
    return partitions, keys


pairs = worlds.flatmap(lambda world: st.tuples(st.just(world), sets(world), sets(world)))
ones = worlds.flatmap(lambda world: st.tuples(st.just(world), sets(world)))


@settings(deadline=None, max_examples=100)
@given(pairs)
def test_operators_equal_those_of_sets_of_keys(
    drawn: tuple[World, tuple[PartitionSet, set[str]], tuple[PartitionSet, set[str]]],
) -> None:
    world, (left, left_keys), (right, right_keys) = drawn
    for operator in (or_, and_, sub):
        partitions, keys = operator(left, right), operator(left_keys, right_keys)
        assert world.members(partitions) == keys
        assert bool(partitions) is bool(keys)
        if partitions.is_finite:
            assert partitions.count() == len(keys)
            assert list(world.space.keys(partitions)) == sorted(keys, key=_order(world))
    assert (left == right) is (left_keys == right_keys)
    assert left.covers(right) is (left_keys >= right_keys)


@settings(deadline=None, max_examples=100)
@given(pairs)
def test_equal_sets_have_equal_boxes(
    drawn: tuple[World, tuple[PartitionSet, set[str]], tuple[PartitionSet, set[str]]],
) -> None:
    world, (left, _), (right, _) = drawn
    again = (right & left) | (left - right)
    assert again == left
    assert hash(again) == hash(left)
    assert len(again.boxes) == len(left.boxes)
    assert {left, again} == {left}
    assert left - left == world.space.empty
    assert left | world.space.universe == world.space.universe


@settings(deadline=None, max_examples=100)
@given(ones)
def test_texts_parse_back_to_the_set_and_do_not_overlap(
    drawn: tuple[World, tuple[PartitionSet, set[str]]],
) -> None:
    world, (partitions, keys) = drawn
    texts = world.space.texts(partitions)
    assert world.space.from_keys(texts) == partitions
    assert sum(len(world.members(world.space.parse(text))) for text in texts) == len(keys)


@settings(deadline=None, max_examples=100)
@given(worlds, st.data())
def test_a_list_of_keys_is_the_union_of_the_keys(world: World, data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(world.keys), max_size=30))
    partitions = world.space.from_keys(keys)
    assert list(world.space.keys(partitions)) == sorted(set(keys), key=_order(world))
    one_by_one = world.space.empty
    for key in keys:
        one_by_one |= world.space.parse(key)
    assert one_by_one == partitions


@settings(deadline=None, max_examples=100)
@given(ones, st.integers(1, 4))
def test_blocks_are_fixed_and_contain_each_key_once(
    drawn: tuple[World, tuple[PartitionSet, set[str]]], size: int
) -> None:
    world, (partitions, keys) = drawn
    if not partitions.is_finite:
        return
    blocks = list(world.space.blocks(partitions, size))
    assert sorted(key for _, members in blocks for key in members) == sorted(keys)
    assert len({block_key for block_key, _ in blocks}) == len(blocks)
    block_keys = {key: block_key for block_key, members in blocks for key in members}
    for key in list(keys)[:5]:
        assert list(world.space.blocks(world.space.parse(key), size)) == [(block_keys[key], [key])]
    for _, members in blocks:
        assert len(members) <= size
        assert members == sorted(members, key=_order(world))


def _order(world: World):
    return world.keys.index
