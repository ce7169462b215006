"""The log of a run: bounded, without secrets, storable."""

import tempfile

import pytest

from engine.model.task import MAX_LOG_BYTES
from engine.model.text import bounded_tail, is_storable, storable
from engine.secrets import resolve
from engine.worker.log_tail import LogTail

SECRET = "correct-horse-battery"


def test_a_short_log_is_complete() -> None:
    log = LogTail()
    log.write("one\n")
    log.write("two\n")
    assert log.text() == "one\ntwo\n"


@pytest.mark.parametrize("size", [1, 1000, MAX_LOG_BYTES])
def test_a_long_log_has_its_end_and_the_number_of_omitted_bytes(size: int) -> None:
    log = LogTail()
    written = 0
    while written < 10 * MAX_LOG_BYTES:
        log.write("x" * size)
        written += size
    log.write("the end")
    note, end = log.text().split("\n")
    assert end.endswith("the end")
    assert len(note) + 1 + len(end) <= MAX_LOG_BYTES
    assert note == f"[{written + 7 - len(end):,} earlier bytes are omitted]"


@pytest.mark.parametrize("text", ["ab", "\0", "é€😀", "\ud83d"])
def test_the_bound_is_one_of_stored_bytes(text: str) -> None:
    bounded = bounded_tail(text * 1000, 500)
    assert is_storable(bounded)
    assert 400 < len(bounded.encode()) <= 500
    assert bounded_tail(text, 500) == storable(text)


@pytest.mark.parametrize("before", [0, 10, MAX_LOG_BYTES, 4 * MAX_LOG_BYTES])
def test_secrets_are_redacted_even_at_the_cut(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    monkeypatch.setenv("KNOCKON_SECRET_OF_THE_LOG", SECRET)
    resolve("${OF_THE_LOG}")
    log = LogTail()
    log.write("x" * before)
    log.write(SECRET * (4 * MAX_LOG_BYTES // len(SECRET)))
    text = log.text()
    assert "***" in text
    assert not any(part in text for part in ("horse", "battery", "orrect"))


def test_a_file_is_read_from_its_end() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 1_000_000 + b"\xff\xfe\nlast\n")
        file.flush()
        log = LogTail.of_file(file)
    note, _, last, rest = log.text().split("\n")
    assert (last, rest) == ("last", "")
    assert note.startswith("[93")
