"""Pulses: each loop of this process says when it turns, so that one that hangs is found out.

There is one list of them in a process, as there is one registry of metrics.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

_PERIODS = 10
_LEAST_SECONDS = 300.0
"""A turn may take this long, whatever its period: a large plan, a database that is away."""


@dataclass(eq=False, slots=True)
class Pulse:
    """One loop, which should turn every ``period`` seconds.

    ``waits_for`` says what a loop lacks to do its work, as long as it does; then it is alive, but
    not ready.
    """

    name: str
    period: float
    waits_for: str | None = None
    last: float = field(default_factory=monotonic)

    def beat(self) -> None:
        """Say that the loop turns."""
        self.last = monotonic()

    @property
    def age(self) -> float:
        """Seconds since it last turned."""
        return monotonic() - self.last

    @property
    def is_dead(self) -> bool:
        """Whether it has not turned for ten periods, and for five minutes."""
        return self.age > max(_PERIODS * self.period, _LEAST_SECONDS)


_pulses: list[Pulse] = []


@contextmanager
def pulsing(name: str, period: float, waits_for: str | None = None) -> Iterator[Pulse]:
    """A loop's pulse for as long as the loop runs; several loops may have one name."""
    pulse = Pulse(name, period, waits_for)
    _pulses.append(pulse)
    try:
        yield pulse
    finally:
        _pulses.remove(pulse)


def pulses() -> tuple[Pulse, ...]:
    """The pulses of the loops that run now."""
    return tuple(_pulses)


class Pulses:
    """All pulses as metrics; of loops with one name, the worst."""

    def collect(self) -> Iterator[Metric]:
        """Read them now."""
        named = sorted({pulse.name for pulse in pulses()})
        ages = GaugeMetricFamily(
            "knockon_duty_age_seconds",
            "Seconds since a loop of the process last completed a cycle.",
            labels=["duty"],
        )
        ready = GaugeMetricFamily(
            "knockon_duty_ready",
            "1 while a loop of the process has every connection needed for its work, else 0.",
            labels=["duty"],
        )
        for name in named:
            same = [pulse for pulse in pulses() if pulse.name == name]
            ages.add_metric([name], max(pulse.age for pulse in same))
            ready.add_metric([name], all(pulse.waits_for is None for pulse in same))
        yield from (ages, ready)
