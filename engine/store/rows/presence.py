"""Rows of `presence.sql`."""

import msgspec


class ConnectedKind(msgspec.Struct, frozen=True):
    """A kind of processes of which at least one is connected."""

    kind: str
