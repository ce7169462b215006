"""Events in the life of an attempt, recorded as they occur."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from engine.model.task import Lease, Output

Kind = Literal["START", "COMPLETE", "FAIL", "ABORT"]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Start or end of an attempt, with the recorded ``outputs``, or the ``error`` of a failure."""

    kind: Kind
    lease: Lease
    outputs: tuple[Output, ...] = ()
    error: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


Emit = Callable[[RunEvent], None]
"""Consumer of run events, which returns immediately and never raises."""


def discard(event: RunEvent) -> None:
    """Ignore an event: the `Emit` of a process without a receiver."""
