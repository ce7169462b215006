"""Rows of `pauses.sql`."""

from datetime import datetime

import msgspec

from engine.model.states import PauseKind


class Pause(msgspec.Struct, frozen=True):
    """A pause of a job, a dataset or the org; the org has an empty ``name``."""

    kind: PauseKind
    name: str
    paused_by: str | None
    paused_at: datetime
    reason: str | None

    @property
    def subject(self) -> str:
        """Return the paused subject, as in messages."""
        return "the org" if self.kind == PauseKind.ORG else f"{self.kind} {self.name!r}"

    @property
    def origin(self) -> str:
        """Return the time, the person and the reason of the pause, as in messages."""
        by = f" by {self.paused_by}" if self.paused_by else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"since {self.paused_at:%Y-%m-%d %H:%M:%S %Z}{by}{reason}"

    def __str__(self) -> str:
        return f"{self.subject} is paused {self.origin}"


class RequestedPause(Pause, frozen=True):
    """A pause as of its request; not ``is_new`` if an earlier request began it."""

    is_new: bool


class Gathering(msgspec.Struct, frozen=True):
    """A dataset with a debounce whose invalidations are planned ``until`` then at the latest."""

    dataset: str
    until: datetime

    def __str__(self) -> str:
        return f"dataset {self.dataset!r} is gathered until {self.until:%Y-%m-%d %H:%M:%S %Z}"


class HeldBack(msgspec.Struct, frozen=True):
    """The work that pauses hold back: unplanned invalidations, and queued tasks."""

    invalidations: int
    tasks: int
