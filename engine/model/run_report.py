"""Outputs that the events of OpenLineage runs name, as far as they are remembered until the end."""

import msgspec


class RunOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that a run names as its output.

    ``text`` is the output as JSON of OpenLineage, and ``is_whole``: the event reports a change of
    the dataset as a whole, which a later event of the run does not take back.
    """

    namespace: str
    name: str
    text: str
    is_whole: bool


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a run, at a position of a stream; ``kind`` is its type in OpenLineage."""

    run: str
    kind: str
    is_end: bool
    outputs: tuple[RunOutput, ...]
    stream: str = ""
    position: str = ""
    job: tuple[str, str] | None = None
