"""Pulses: the time of each loop's last cycle, which reveals a loop that hangs.

The process has one global list of pulses, like Prometheus' registry of metrics.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

_PERIODS = 10
_LEAST_SECONDS = 300.0
"""Least time allowed for a cycle, enough for a large plan or an outage of the database."""


@dataclass(eq=False, slots=True)
class Pulse:
    """One loop, which should complete a cycle every ``period`` seconds.

    While ``waits_for`` is set, to the condition that the loop waits for, the loop is alive but not
    ready.
    """

    name: str
    period: float
    waits_for: str | None = None
    last: float = field(default_factory=monotonic)

    def beat(self) -> None:
        """Record a cycle of the loop."""
        self.last = monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last cycle."""
        return monotonic() - self.last

    @property
    def is_dead(self) -> bool:
        """True after ten periods, and at least five minutes, without a cycle."""
        return self.age > max(_PERIODS * self.period, _LEAST_SECONDS)


_pulses: list[Pulse] = []


@contextmanager
def pulsing(name: str, period: float, waits_for: str | None = None) -> Iterator[Pulse]:
    """Register a pulse while the loop runs; several loops may share a name."""
    pulse = Pulse(name, period, waits_for)
    _pulses.append(pulse)
    try:
        yield pulse
    finally:
        _pulses.remove(pulse)


def pulses() -> tuple[Pulse, ...]:
    """Return the pulses of all running loops."""
    return tuple(_pulses)


class Pulses:
    """Collector of all pulses; of loops that share a name, the worst counts."""

    def collect(self) -> Iterator[Metric]:
        """Yield the age and the readiness of every loop."""
        named = sorted({pulse.name for pulse in pulses()})
        ages = GaugeMetricFamily(
            "knockon_loop_age_seconds",
            "Seconds since a loop of the process last completed a cycle.",
            labels=["loop"],
        )
        ready = GaugeMetricFamily(
            "knockon_loop_ready",
            "1 while a loop of the process has every connection needed for its work, else 0.",
            labels=["loop"],
        )
        for name in named:
            same = [pulse for pulse in pulses() if pulse.name == name]
            ages.add_metric([name], max(pulse.age for pulse in same))
            ready.add_metric([name], all(pulse.waits_for is None for pulse in same))
        yield from (ages, ready)
