"""Rows of `appearances.sql`."""

from datetime import datetime

import msgspec


class Checked(msgspec.Struct, frozen=True):
    """The last check for partitions that have come into being."""

    until: datetime
