"""Whole sets of partitions mapped as intervals, beside the same mapping key by key."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from random import Random

from engine.partitions import Mapping, PartitionSet, PartitionSpace
from tests.benchmarks.figure import Figure, Peer, timed
from tests.benchmarks.server import Server

HOURLY = PartitionSpace.from_spec({"dt": {"time": "hour"}})
DAILY = PartitionSpace.from_spec({"dt": {"time": "day"}})
_START = datetime(2013, 1, 1, tzinfo=UTC)
_ORIGINS = [f"O{n:02}" for n in range(100)]
_TIMES = 21


async def figures(_: Server) -> AsyncIterator[Figure]:
    """Figures of pure code; nothing is stored."""
    yield _hours("35,000 contiguous hours to days", list(range(35_000)), 0.1)
    yield _hours("1,000 scattered hours to days", Random(0).sample(range(35_000), 1_000), 2)
    yield _product()


def _hours(name: str, offsets: list[int], target: float) -> Figure:
    keys = [_hour(offset) for offset in offsets]
    hours = HOURLY.from_keys(keys)
    to_days = Mapping.from_spec(None, HOURLY, DAILY)
    return _figure(name, lambda: to_days.down(hours), lambda: set(map(_day, keys)), target)


def _product() -> Figure:
    """1,460 days by 100 origins, to months by origin."""
    origins = {"origin": {"static": _ORIGINS}}
    days = PartitionSpace.from_spec({"dt": {"time": "day"}, **origins})
    months = PartitionSpace.from_spec({"dt": {"time": "month"}, **origins})
    partitions = PartitionSet.of(days, days.parse("dt=2013-01-01..2016-12-30").boxes)
    keys = list(days.keys(partitions))
    to_months = Mapping.from_spec(None, days, months)
    return _figure(
        f"{len(keys):,} keys in two dimensions to months",
        lambda: to_months.down(partitions),
        lambda: {_month(key) for key in keys},
        5,
    )


def _figure(
    name: str, whole: Callable[[], PartitionSet], by_key: Callable[[], set[str]], target: float
) -> Figure:
    found = whole()
    assert set(found.space.keys(found)) == by_key(), name
    peer = Peer("key by key", timed(by_key, _TIMES))
    return Figure(name, timed(whole, _TIMES), "ms", target, peer)


def _hour(offset: int) -> str:
    return (_START + timedelta(hours=offset)).strftime("%Y-%m-%dT%H")


def _day(key: str) -> str:
    return datetime.fromisoformat(key).date().isoformat()


def _month(key: str) -> str:
    day, origin = key.split("/")
    return f"dt={_day(day[3:])[:7]}/{origin}"
