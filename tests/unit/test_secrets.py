"""Secrets of a process are redacted in every form that may occur in a message."""

import json
import os
import subprocess
import sys
from tempfile import TemporaryFile

import pytest

from engine import secrets
from engine.errors import InvalidInput
from engine.secrets import hide_settings, redacted
from engine.settings import Settings, read_settings
from engine.worker.operators.shell import _TAIL, _tail

SECRET = "hunter2/@:\"'é"
RAW = "h%75nter2%2f%40%3A%22%27%C3%A9"


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_hidden", set())


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{RAW}@127.0.0.1:1/x",
        f"postgresql://me@127.0.0.1:1/x?password={RAW}",
        f"postgresql://me@127.0.0.1:1/x?sslmode=require&sslpassword={RAW}",
        "host=127.0.0.1 password='hunter2/@:\"\\'é'",
        "host=127.0.0.1 sslpassword='hunter2/@:\"\\'é'",
        f"postgresql://me:{RAW}@127.0.0.1:1/x%zz",
    ],
)
def test_a_password_in_an_address_is_hidden_in_every_encoding(url: str) -> None:
    hide_settings(Settings(database_url=url, source_url=None))
    shown = [SECRET, json.dumps({"x": SECRET}), repr([SECRET]), url]
    for text in shown[: None if "://" in url else 3]:
        found = redacted(f"could not connect: {text}")
        assert "***" in found
        assert "nter2" not in found


def test_passwords_elsewhere_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "from-the-environment")
    hide_settings(Settings(database_url=None, openlineage_url=f"https://me:{RAW}@lineage/x"))
    assert redacted(f"from-the-environment {SECRET} {RAW}") == "*** *** ***"


def test_a_bad_setting_is_reported_without_the_value_of_a_secret() -> None:
    with pytest.raises(InvalidInput) as failed:
        read_settings(kafka_sasl_password=86422468, database_url=[SECRET], org=7)
    assert sorted(str(failed.value).splitlines()) == [
        "KNOCKON_DATABASE_URL should be a valid string: correct the variable, or unset it",
        "KNOCKON_KAFKA_SASL_PASSWORD should be a valid string: correct the variable, or unset it",
        "KNOCKON_ORG should be a valid string, not 7: correct the variable, or unset it for the "
        "default 'default'",
    ]


def test_the_end_of_an_output_contains_no_part_of_a_secret() -> None:
    secret = "0123456789abcdefghij"
    secrets._hide(secret)
    for cut in range(len(secret) + 1):
        text = "x" * 100 + secret + "y" * (_TAIL - cut)
        with TemporaryFile() as file:
            file.write(text.encode())
            file.flush()
            assert set(_tail(file)) <= {"x", "y", "*"}


_LOG = """
import structlog
from engine import secrets
from engine.logs import configure_logs
from engine.settings import Settings
configure_logs(Settings())
text = "hunter2/@:\\"'secret"
secrets._hide(text)
log = structlog.get_logger("x")
log.warning("w", a=[text], b={text: text}, c=OSError(text), d=(1, {"x": [text]}), e=text.encode())
log.warning("w %s", text)
try:
    raise ValueError(text)
except ValueError:
    log.exception("it broke")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_log_line_contains_a_secret(log_format: str) -> None:
    environment = {**os.environ, "KNOCKON_LOG_FORMAT": log_format}
    command = [sys.executable, "-c", _LOG]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "nter2" not in done.stderr
    assert done.stderr.count("***") >= 7
