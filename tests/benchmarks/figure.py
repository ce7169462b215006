"""A row of the table: measurement, target, and a peer measured in the same run."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Literal

from rich.table import Table

Unit = Literal["ms", "s", "MB", "/s", "×"]
Samples = Sequence[float]


@dataclass(frozen=True, slots=True)
class Peer:
    """Minimal equivalent work, or the same work in another system, in the figure's unit."""

    name: str
    samples: Samples


@dataclass(frozen=True, slots=True)
class Figure:
    """Samples in ``unit``; for a rate the ``target`` is a minimum, otherwise a maximum."""

    name: str
    samples: Samples
    unit: Unit
    target: float | None = None
    peer: Peer | None = None

    @property
    def ratio(self) -> float | None:
        """Measured over peer, by their medians."""
        return median(self.samples) / median(self.peer.samples) if self.peer else None

    @property
    def is_met(self) -> bool | None:
        if self.target is None:
            return None
        measured = median(self.samples)
        return measured >= self.target if self.unit == "/s" else measured <= self.target

    def cells(self) -> tuple[str, ...]:
        mark = {None: "", True: "[green]✓[/]", False: "[red]✗[/]"}[self.is_met]
        sign = "≥" if self.unit == "/s" else "≤"
        target = "" if self.target is None else f"{sign} {_number(self.target)} {self.unit}"
        peer = f"{_spread(self.peer.samples, self.unit)} {self.peer.name}" if self.peer else ""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return self.name, _spread(self.samples, self.unit), target, mark, peer, ratio


def table() -> Table:
    found = Table("figure", "measured (min–max)", "target", "", "ceiling or peer", "ratio")
    found.columns[0].overflow = found.columns[4].overflow = "fold"
    return found


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each call, after a warm-up call."""
    work()
    return [_milliseconds(work) for _ in range(times)]


async def stopwatch(work: Awaitable[object]) -> float:
    """Elapsed seconds of the body."""
    start = perf_counter()
    await work
    return perf_counter() - start


def _milliseconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return (perf_counter() - start) * 1000


def _spread(samples: Samples, unit: str) -> str:
    middle = f"{_number(median(samples))} {unit}"
    if len(samples) == 1:
        return middle
    return f"{middle} ({_number(min(samples))}–{_number(max(samples))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
