"""Repeated log lines are suppressed; all other lines pass."""

import json
import logging

import pytest
import structlog

from engine.log_repeats import HoldBackRepeats
from engine.logs import configure_logs
from engine.settings import Settings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passes(clock: Clock):
    """Log a line and return the emitted text; None if it was suppressed."""
    held = HoldBackRepeats(clock)

    def log(text: str, *args: object, level: int = logging.ERROR, name: str = "aiokafka.client"):
        record = logging.LogRecord(name, level, __file__, 1, text, args, None)
        return record.getMessage() if held.filter(record) else None

    return log


def test_an_outage_leaves_few_lines(passes, clock: Clock) -> None:
    shown = []
    for _ in range(180):
        shown.append(passes("Unable connect to node with id %s", 1))
        clock.now += 0.5
    assert [line for line in shown if line] == [
        "Unable connect to node with id 1",
        "Unable connect to node with id 1 (repeated 119 times)",
    ]


def test_pauses_grow_during_an_outage_and_reset_after_it(passes, clock: Clock) -> None:
    shown = []
    for _ in range(3600):
        if passes("away"):
            shown.append(clock.now - 1000)
        clock.now += 1
    assert shown == [0, 60, 180, 420, 900, 1500, 2100, 2700, 3300]
    clock.now += 1300
    assert passes("away") == "away (repeated 299 times)"
    clock.now += 61
    assert passes("away") == "away"


@pytest.mark.parametrize(
    "other",
    [
        {"args": (2,)},
        {"name": "aiokafka.conn"},
        {"level": logging.WARNING},
    ],
)
def test_another_line_passes(passes, other) -> None:
    assert passes("node %s", 1)
    assert passes("node %s", *other.pop("args", (1,)), **other)


def test_new_lines_and_tracebacks_always_pass(passes, clock: Clock) -> None:
    assert passes("done", level=logging.INFO)
    assert passes("done", level=logging.INFO)
    held = HoldBackRepeats(clock)
    failed = (ValueError, ValueError("x"), None)
    for _ in range(2):
        assert held.filter(logging.LogRecord("x", logging.ERROR, "x", 1, "it broke", (), failed))


def test_the_oldest_of_many_lines_are_evicted(passes) -> None:
    for number in range(1001):
        assert passes("line %s", number)
    assert passes("line 1000") is None
    assert passes("line 0")


def test_repeated_lines_of_knockon_and_libraries_are_suppressed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logs(Settings(log_format="json"))
        log = structlog.get_logger("a")
        for stream in (1, 1, 2):
            log.error("not written, retrying", stream=stream)
            logging.getLogger("aiokafka.client").error("away %s", stream)
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()
    assert [line["event"] for line in lines] == [
        "not written, retrying",
        "away 1",
        "not written, retrying",
        "away 2",
    ]
