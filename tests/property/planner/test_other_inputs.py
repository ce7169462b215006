"""Outputs with other inputs after a change of bounds, compared with a comparison key by key."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.partitions import Mapping, PartitionSet, PartitionSpace
from engine.planner import InputChange, reading_otherwise, reads_otherwise

ALL_KEYS = ("A", "B", "C", "D")


@st.composite
def spaces(draw: st.DrawFn, kind: str) -> PartitionSpace:
    if kind == "range":
        start = draw(st.integers(0, 4))
        end = draw(st.integers(start + 1, 8))
        return PartitionSpace.from_spec({"k": {"range": 10, "start": start * 10, "end": end * 10}})
    keys = draw(st.permutations(ALL_KEYS))[: draw(st.integers(1, 4))]
    return PartitionSpace.from_spec({"k": {"static": list(keys)}})


def _key_map(draw: st.DrawFn, source: PartitionSpace, target: PartitionSpace) -> Any:
    targets = st.lists(st.sampled_from(list(target.keys(target.universe))), unique=True)
    return {key: draw(targets) for key in source.keys(source.universe)}


@st.composite
def mappings(draw: st.DrawFn) -> tuple[Mapping, Mapping]:
    """A mapping before and after changes of bounds, lists and maps."""
    kind = draw(st.sampled_from(["range", "static"]))
    sides = [(draw(spaces(kind)), draw(spaces(kind))) for _ in range(2)]
    forms = ["identity", "all", "last", {"k": "all"}]
    if kind == "range":
        forms.append({"k": {"from": "k", "window": [-1, 1]}})
    form = draw(st.sampled_from([*forms, *(["map"] if kind == "static" else [])]))
    specs = [
        {"k": {"from": "k", "map": _key_map(draw, *pair)}} if form == "map" else form
        for pair in sides
    ]
    before, now = (Mapping.from_spec(spec, *pair) for spec, pair in zip(specs, sides, strict=True))
    return before, now


@given(mappings(), st.data(), st.booleans())
def test_outputs_with_other_inputs_are_found(
    pair: tuple[Mapping, Mapping], data: st.DataObject, is_source: bool
) -> None:
    before, now = pair
    known = _subset(data, before.source)
    among = _subset(data, now.target)
    change = InputChange.of(known, now.source, is_source=is_source)

    found = reading_otherwise(before, now, change, among)

    remaining = now.source.part_of(known)
    shared = set(now.target.keys(among)) & set(before.target.keys(before.target.universe))
    expected = {
        key
        for key in shared
        if _read(before, key, known, is_source)
        != _read(now, key, remaining, is_source) & set(before.source.keys(before.source.universe))
    }
    assert set(now.target.keys(found)) == expected
    if expected and not before.takes_last:
        # Of several partitions, a job may read the same inputs for others than before.
        whole = now.target.part_of(before.target.universe)
        assert reads_otherwise(before, now, change) or whole.count() > 1


def _subset(data: st.DataObject, space: PartitionSpace) -> PartitionSet:
    keys = list(space.keys(space.universe))
    return space.from_keys(data.draw(st.lists(st.sampled_from(keys), unique=True)))


def _read(mapping: Mapping, key: str, known: PartitionSet, is_source: bool) -> set[str]:
    """Return the existing partitions read; all possible ones of a source count as existing."""
    read = mapping.up(mapping.target.parse(key), known)
    return set(mapping.source.keys(read if is_source else read & known))


@given(spaces("static"), spaces("static"))
def test_texts_do_not_depend_on_the_list(one: PartitionSpace, other: PartitionSpace) -> None:
    for first, second in pairwise([one, other, one]):
        shared = second.part_of(first.universe)
        assert second.from_alike(first.texts(first.part_of(shared))) == shared or (
            first.texts(first.part_of(shared)) == ["*"]
        )
