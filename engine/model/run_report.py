"""Outputs named by the events of OpenLineage runs, stored until the run ends."""

import msgspec


class RunOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset named as an output by a run.

    ``text`` is the output as OpenLineage JSON. ``is_whole``: the event reports a change of the
    entire dataset, which no later event of the run revokes.
    """

    namespace: str
    name: str
    text: str
    is_whole: bool


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a run, at a position of a stream; ``kind`` is the OpenLineage event type."""

    run: str
    kind: str
    is_end: bool
    outputs: tuple[RunOutput, ...]
    stream: str = ""
    position: str = ""
    job: tuple[str, str] | None = None
