"""Reports of runs as data: ``{"outputs": [{"dataset": …, "partition": …, …}]}``."""

from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from engine.errors import TaskFailed
from engine.model.task import Output
from engine.worker.context import Result


@dataclass(frozen=True, slots=True)
class _Report:
    outputs: tuple[Output, ...] = ()
    cursors: dict[UUID, str] = field(default_factory=dict)


def read_outputs(data: object) -> Result:
    """Read a report with the fields of `Output`. Raises TaskFailed."""
    try:
        report = msgspec.convert(data, _Report)
    except msgspec.ValidationError as error:
        raise TaskFailed(
            f"the report of the run is malformed ({error}): report nothing, or "
            '{"outputs": [{"dataset": …, "partition": …}]}'
        ) from error
    return Result(report.outputs, report.cursors)
