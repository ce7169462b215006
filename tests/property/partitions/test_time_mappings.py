"""Time to time, any grains and zones, checked against windows from datetime arithmetic."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.errors import InvalidPartition
from engine.partitions import Mapping, PartitionSpace, TimeDimension
from engine.partitions.clock import clock
from tests.property.partitions.windows import ANCHORS, GRIDS, Window, midnight, spec_of, windows

GRAINS = ["hour", "day", "week", "month", "quarter", "year", *GRIDS]
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
        self.space = PartitionSpace.from_spec({"t": {**spec_of(grain), "zone": zone, **spec}})

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


def _instants(first: int, end: int) -> st.SearchStrategy[datetime]:
    """Return whole seconds between the first days of two years."""
    bounds = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (first, end))
    return st.integers(*bounds).map(lambda second: datetime.fromtimestamp(second, UTC))


pairs = st.sampled_from(ZONES).flatmap(lambda anchor: st.tuples(sides(anchor), sides(anchor)))
offsets = st.tuples(st.integers(-4, 4), st.integers(-4, 4)).map(sorted)


def needs(target: Side, place: int, source: Window, first: int, last: int) -> bool:
    around = target.all[place + first : place + last + 1]
    return any(window.overlaps(source) for window in around)


def needs_by_inputs(source: Side, place: int, target: Window, first: int, last: int) -> bool:
    """Return whether a source is at an offset from `first` to `last` from one that overlaps."""
    around = source.all[max(place - last, 0) : place - first + 1]
    return any(window.overlaps(target) for window in around)


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


@settings(deadline=None, max_examples=100)
@given(pairs, offsets, st.data())
def test_offsets_may_count_inputs(
    pair: tuple[Side, Side], window: list[int], data: st.DataObject
) -> None:
    source, target = pair
    spec = {"t": {"from": "t", "window": window, "unit": "input"}}
    mapping = Mapping.from_spec(spec, source.space, target.space, "test")
    some = st.lists(st.sampled_from(source.members()), max_size=6, unique=True)
    touched = data.draw(some) if source.members() else []
    wanted = [
        t.key
        for _, t in target.members()
        if any(needs_by_inputs(source, place, t, *window) for place, _ in touched)
    ]
    down = mapping.down(source.space.from_keys(s.key for _, s in touched))
    assert list(target.space.keys(down)) == wanted
    for _, t in target.members()[:3] + target.members()[-3:]:
        up = mapping.up(target.space.parse(t.key))
        needed = [s.key for i, s in source.members() if needs_by_inputs(source, i, t, *window)]
        assert list(source.space.keys(up)) == needed


@settings(deadline=None, max_examples=60)
@given(pairs, st.data())
def test_open_ends_stay_open_and_agree_with_bounded_ones(
    pair: tuple[Side, Side], data: st.DataObject
) -> None:
    source, target = pair
    spec = source.space.to_spec()["t"]
    grid = {field: value for field, value in spec.items() if field not in ("start", "end")}
    endless = PartitionSpace.from_spec({"t": grid})
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


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(GRAINS), st.sampled_from(ZONES), st.data())
def test_windows_tile_all_time_and_each_has_one_key(
    grain: str, zone: str, data: st.DataObject
) -> None:
    """Around every clock change from 1840 to 2200, and at any other time in keys."""
    (dimension,) = (d for _, d in PartitionSpace.from_spec({"t": _in(grain, zone)}).dimensions)
    assert isinstance(dimension, TimeDimension)
    grid = dimension.calendar
    changes = st.sampled_from(clock(zone).cuts[1:] or [0])
    near = st.tuples(changes, st.integers(-100_000, 100_000)).map(sum)
    anywhere = _instants(1100, 9000).map(lambda instant: int(instant.timestamp()))
    (first,) = grid.at([data.draw(near | anywhere)])
    ordinals = [n for n in range(first - 3, first + 4) if n not in grid.skipped]
    starts = grid.starts(ordinals)
    assert starts == sorted(set(starts))
    assert grid.starts([n + 1 for n in ordinals[:-1]]) == starts[1:]
    assert grid.at(starts) == ordinals
    assert grid.at([start - 1 for start in starts[1:]]) == ordinals[:-1]
    keys = [grid.format(n) for n in ordinals]
    assert [grid.parse(key) for key in keys] == ordinals


@given(st.sampled_from(GRAINS), st.sampled_from(ZONES))
def test_grids_are_equal_to_those_of_their_stored_specs(grain: str, zone: str) -> None:
    space = PartitionSpace.from_spec({"t": _in(grain, zone)})
    assert PartitionSpace.from_spec(space.to_spec()) == space
    assert PartitionSpace.from_spec(space.to_spec()).is_alike(space)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted).map(lambda ends: f"{ends[0]}-{ends[1]}")
    step = st.integers(1, high).map(lambda n: f"*/{n}")
    several = st.lists(number.map(str) | pair, min_size=1, max_size=3).map(",".join)
    return st.just("*") | step | several


expressions = st.tuples(
    _field(0, 59), _field(0, 23), _field(1, 31) | st.just("L"), _field(1, 12), _field(0, 6)
).map(" ".join)


@settings(deadline=None, max_examples=200)
@given(expressions, _instants(1500, 2900))
def test_windows_of_an_expression_start_at_its_times(expression: str, now: datetime) -> None:
    try:
        grid = TimeDimension(expression).calendar
    except InvalidPartition:
        assume(False)
    following = list(itertools.islice(CronSim(expression, now), 5))
    before = next(CronSim(expression, now + timedelta(seconds=1), reverse=True))
    (first,) = grid.at([int(now.timestamp())])
    starts = grid.starts(list(range(first, first + len(following) + 1)))
    assert [datetime.fromtimestamp(start, UTC) for start in starts] == [before, *following]


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["30 1 * * *", "30 2 * * *", "15,45 2 * * *", "5 0,1,2,3 * * *"]),
    st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC"]),
    _instants(1990, 2030),
)
def test_windows_of_fixed_times_start_when_a_scheduler_runs(
    expression: str, zone: str, around: datetime
) -> None:
    """Of several times skipped at once, a scheduler runs each, and the window is that of one."""
    start = around.astimezone(ZoneInfo(zone))
    times = [time.astimezone(UTC) for time in itertools.islice(CronSim(expression, start), 400)]
    grid = TimeDimension(expression, zone).calendar
    (first,) = grid.at([int(times[0].timestamp())])
    (last,) = grid.at([int(times[-1].timestamp())])
    starts = grid.starts(list(range(first, last + 1)))
    assert [datetime.fromtimestamp(at, UTC) for at in starts] == list(dict.fromkeys(times))


def _in(grain: str, zone: str) -> dict[str, str]:
    return {**spec_of(grain), "zone": zone}


def test_the_reference_walk_starts_at_midnight() -> None:
    first = windows("hour", "UTC", ANCHORS["UTC"])[0]
    assert first.start == datetime(2013, 12, 28, tzinfo=UTC)


@settings(deadline=None, max_examples=100)
@given(pairs, offsets, st.data())
def test_an_input_brings_the_windows_that_contain_it_into_being(
    pair: tuple[Side, Side], window: list[int], data: st.DataObject
) -> None:
    source, target = pair
    spec = {"t": {"from": "t", "window": window}}
    mapping = Mapping.from_spec(spec, source.space, target.space, "test")
    existing = data.draw(st.sets(st.sampled_from(source.members()), max_size=5))
    wanted = data.draw(st.sets(st.sampled_from(target.members()), max_size=30))
    includes_itself = window[0] <= 0 <= window[1]

    found = mapping.within(
        source.space.from_keys([each.key for _, each in existing]),
        target.space.from_keys([each.key for _, each in wanted]),
    )

    assert {*target.space.keys(found)} == {
        outer.key
        for _, outer in wanted
        if includes_itself
        and any(outer.start <= each.start and each.end <= outer.end for _, each in existing)
    }
