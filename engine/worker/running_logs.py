"""Logs of the runs in progress, of which those that have changed are stored with a heartbeat."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from engine.model.task import Lease


@dataclass(slots=True)
class _RunningLog:
    lease: Lease
    text: Callable[[], str]
    stored: str = ""


class RunningLogs:
    """Logs by task, each with the text that was stored last."""

    def __init__(self) -> None:
        self._logs: dict[UUID, _RunningLog] = {}

    @contextmanager
    def of(self, lease: Lease, text: Callable[[], str] | None) -> Iterator[None]:
        """Include the log of a run, if it has one, while the body runs."""
        if text is not None:
            self._logs[lease.task_id] = _RunningLog(lease, text)
        try:
            yield
        finally:
            self._logs.pop(lease.task_id, None)

    def changed(self) -> list[tuple[Lease, str]]:
        """Return the logs that have changed since the last call, which count as stored."""
        changed = []
        for log in self._logs.values():
            text = log.text()
            if text != log.stored:
                log.stored = text
                changed.append((log.lease, text))
        return changed
