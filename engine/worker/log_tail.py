"""The log of a run: the end of its output, within a bound, without secrets."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import BinaryIO, Self

from engine.model.task import MAX_LOG_BYTES
from engine.model.text import bounded_tail
from engine.secrets import longest_secret, redacted

_KEPT_BYTES = 2 * MAX_LOG_BYTES
"""More than the bound, so that a secret at the cut is still found."""


class LogTail:
    """The end of an output; any thread may write."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._end = bytearray()
        self._omitted = 0
        self._followed: Callable[[], str] | None = None

    @classmethod
    def of_file(cls, file: BinaryIO) -> Self:
        """Read the end of a file, to which a process may be writing at the file's position."""
        log = cls()
        log._omitted = max(0, os.fstat(file.fileno()).st_size - _KEPT_BYTES)
        log._end += os.pread(file.fileno(), 2 * _KEPT_BYTES, log._omitted)
        return log

    @contextmanager
    def following(self, text: Callable[[], str]) -> Iterator[None]:
        """Take the output from elsewhere: read on demand in the body, and kept afterwards."""
        self._followed = text
        try:
            yield
        finally:
            self._followed = None
            self.write(text())

    def write(self, text: str) -> None:
        """Append to the output."""
        with self._lock:
            self._end += text.encode(errors="replace")
            if (excess := len(self._end) - _KEPT_BYTES) > _KEPT_BYTES:
                del self._end[:excess]
                self._omitted += excess

    def end(self) -> str:
        """Return the end of the output with secrets redacted, even one at the cut."""
        return self._end_and_omitted()[0]

    def text(self, most_bytes: int = MAX_LOG_BYTES) -> str:
        """Return the end of the output within a bound, and the number of bytes before it."""
        if (followed := self._followed) is not None:
            return bounded_tail(followed(), most_bytes)
        end, omitted = self._end_and_omitted()
        return bounded_tail(end, most_bytes, omitted)

    def _end_and_omitted(self) -> tuple[str, int]:
        with self._lock:
            text, omitted = self._end.decode(errors="replace"), self._omitted
        cut = longest_secret() if omitted else 0
        return redacted(text)[cut:], omitted + cut
