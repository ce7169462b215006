"""Rows of `runs.sql`."""

import msgspec


class AnnouncedOutputs(msgspec.Struct, frozen=True):
    """The number of outputs stored for a feed, up to a limit."""

    outputs: int


class AnnouncedOutput(msgspec.Struct, frozen=True):
    """An output announced before the end of its run."""

    run: str
    namespace: str
    name: str
    output: str
    is_whole: bool
    stream: str
    position: str
