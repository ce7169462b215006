"""Time to time, any grains and zones, checked against windows from datetime arithmetic."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.partitions import Mapping, PartitionSpace
from tests.property.partitions.windows import ANCHORS, Window, midnight, windows

GRAINS = ["hour", "day", "week", "month", "quarter", "year"]
ZONES = list(ANCHORS)


class Side:
    """A bounded time dimension beside the expected windows."""

    def __init__(self, grain: str, zone: str, anchor: str, before: int, after: int) -> None:
        self.all = windows(grain, zone, ANCHORS[anchor])
        noon = midnight(ANCHORS[anchor], anchor) + timedelta(hours=2)
        middle = next(i for i, window in enumerate(self.all) if window.end > noon)
        # Bounds are inside the enumerated range, so that offsets can exceed them.
        self.lo = max(middle - before, 4)
        self.hi = min(middle + after, len(self.all) - 5)
        spec = {"start": self.all[self.lo].key, "end": self.all[self.hi].key}
        self.space = PartitionSpace.from_spec({"t": {"time": grain, "zone": zone, **spec}})

    def members(self) -> list[tuple[int, Window]]:
        inside = range(self.lo, self.hi)
        return [(i, self.all[i]) for i in inside if self.all[i].start < self.all[i].end]

    def keys(self) -> list[str]:
        return [window.key for _, window in self.members()]


@st.composite
def sides(draw: st.DrawFn, anchor: str) -> Side:
    grain = draw(st.sampled_from(GRAINS))
    zone = draw(st.sampled_from([anchor, anchor, *ZONES]))
    return Side(grain, zone, anchor, draw(st.integers(1, 40)), draw(st.integers(1, 40)))


pairs = st.sampled_from(ZONES).flatmap(lambda anchor: st.tuples(sides(anchor), sides(anchor)))
offsets = st.tuples(st.integers(-4, 4), st.integers(-4, 4)).map(sorted)


def needs(target: Side, place: int, source: Window, first: int, last: int) -> bool:
    around = target.all[place + first : place + last + 1]
    return any(window.overlaps(source) for window in around)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(ZONES).flatmap(sides))
def test_keys_and_windows_follow_the_wall_clock(side: Side) -> None:
    space = side.space
    assert list(space.keys(space.universe)) == side.keys()
    for _, window in side.members():
        value = space.values(window.key)["t"]
        assert (value.key, value.start, value.end) == window


@settings(deadline=None, max_examples=100)
@given(pairs, offsets, st.data())
def test_an_output_needs_every_overlapping_input(
    pair: tuple[Side, Side], window: list[int], data: st.DataObject
) -> None:
    source, target = pair
    spec = {"t": {"from": "t", "window": window}}
    mapping = Mapping.from_spec(spec, source.space, target.space, "test")
    first, last = window
    some = st.lists(st.sampled_from(source.members()), max_size=6, unique=True)
    touched = data.draw(some) if source.members() else []
    wanted = [
        t.key
        for place, t in target.members()
        if any(needs(target, place, s, first, last) for _, s in touched)
    ]
    down = mapping.down(source.space.from_keys(s.key for _, s in touched))
    assert list(target.space.keys(down)) == wanted

    for place, t in target.members()[:3] + target.members()[-3:]:
        up = mapping.up(target.space.parse(t.key))
        needed = [s.key for _, s in source.members() if needs(target, place, s, first, last)]
        assert list(source.space.keys(up)) == needed


@settings(deadline=None, max_examples=60)
@given(pairs, st.data())
def test_open_ends_stay_open_and_agree_with_bounded_ones(
    pair: tuple[Side, Side], data: st.DataObject
) -> None:
    source, target = pair
    spec = source.space.to_spec()["t"]
    endless = PartitionSpace.from_spec({"t": {"time": spec["time"], "zone": spec.get("zone")}})
    bounded = Mapping.from_spec(None, source.space, target.space, "test")
    opened = Mapping.from_spec(None, endless, target.space, "test")
    if not source.keys():
        return
    key = data.draw(st.sampled_from(source.keys()))
    assert bounded.down(source.space.parse(key)) == opened.down(endless.parse(key))
    onwards = opened.down(endless.parse(f"{key}.."))
    assert onwards == target.space.universe - opened.down(
        endless.parse(f"..{key}") - endless.parse(key)
    ) | opened.down(endless.parse(key))
    assert not endless.parse(f"{key}..").is_finite


def test_the_reference_walk_starts_at_midnight() -> None:
    first = windows("hour", "UTC", ANCHORS["UTC"])[0]
    assert first.start == datetime(2013, 12, 28, tzinfo=UTC)
