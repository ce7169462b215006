"""What happens to an attempt, as it is noted when it happens."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from engine.model.task import Lease, Output

Kind = Literal["START", "COMPLETE", "FAIL", "ABORT"]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """An attempt begins or ends: ``outputs`` are what it recorded, ``error`` is why it failed."""

    kind: Kind
    lease: Lease
    outputs: tuple[Output, ...] = ()
    error: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


Emit = Callable[[RunEvent], None]
"""Takes note of what happened, at once, and never raises."""


def discard(event: RunEvent) -> None:
    """Where nobody wants to know."""
