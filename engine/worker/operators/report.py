"""What a run reports as data: ``{"outputs": [{"dataset": …, "partition": …, …}]}``."""

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
    """Read a report; fields are those of `Output`. Raises TaskFailed."""
    try:
        report = msgspec.convert(data, _Report)
    except msgspec.ValidationError as error:
        raise TaskFailed(
            f"what the run reported cannot be read ({error}): report nothing, or "
            '{"outputs": [{"dataset": …, "partition": …}]}'
        ) from error
    return Result(report.outputs, report.cursors)
