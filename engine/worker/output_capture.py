"""Capture of the output of Python code: log records, stdout and stderr of each run apart.

The streams of the process are replaced while any run is being captured, and still receive the
output. Output written by threads and processes that a run has started is not attributed to the run.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, TextIO

from engine.worker.log_tail import LogTail

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STREAMS = ("stdout", "stderr")
_log: ContextVar[LogTail | None] = ContextVar("log of the run", default=None)


class _Tee:
    """A stream that also writes to the log of the run in the current context."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write to the stream and the log."""
        if (log := _log.get()) is not None:
            log.write(text)
        return self.stream.write(text)

    def writelines(self, lines: Any) -> None:
        """Write each line to the stream and the log."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Handler(logging.Handler):
    """A handler that writes to the log of the run in the current context."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the log."""
        if (log := _log.get()) is not None:
            log.write(self.format(record) + "\n")


class _Process:
    """The handler and the replaced streams of this process, while any run is being captured."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = 0
        self._handler = _Handler()
        self._handler.setFormatter(logging.Formatter(_FORMAT))

    def begin(self) -> None:
        """Install the handler and replace the streams for the first run."""
        with self._lock:
            self._runs += 1
            if self._runs == 1:
                logging.getLogger().addHandler(self._handler)
                for name in _STREAMS:
                    setattr(sys, name, _Tee(getattr(sys, name)))

    def end(self) -> None:
        """Remove the handler and restore the streams after the last run."""
        with self._lock:
            self._runs -= 1
            if self._runs == 0:
                logging.getLogger().removeHandler(self._handler)
                for name in _STREAMS:
                    if isinstance(tee := getattr(sys, name), _Tee):
                        setattr(sys, name, tee.stream)


_process = _Process()


@contextmanager
def captured(log: LogTail) -> Iterator[None]:
    """Write the output of the body to a log as well."""
    _process.begin()
    token = _log.set(log)
    try:
        yield
    finally:
        _log.reset(token)
        _process.end()
