"""Rows of `clock.sql`."""

from datetime import datetime

import msgspec


class CurrentTime(msgspec.Struct, frozen=True):
    """The current time."""

    now: datetime
