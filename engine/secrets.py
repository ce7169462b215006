"""Secrets: found by the references in DAG files, and kept out of what is shown.

A DAG file holds ``${NAME}`` in place of a secret. The value is the environment variable
``KNOCKON_SECRET_NAME`` of the process that needs it, so that the operator decides which secrets DAG
files can reach, and nothing but the reference is stored.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from engine.errors import InvalidInput
from engine.model.references import PREFIX, REFERENCE
from engine.settings import Settings

_HIDDEN = "***"
_SHORTEST = 8
_NO_SECRETS = frozenset({"password", "postgres", "knockon"})
_WRITTEN_PASSWORD = re.compile(r"://[^/?#@:]*:([^/?#]*)@|[?&](?:ssl)?password=([^&#]*)")
"""Of an address, which may be no address that libpq can read."""
_hidden: set[str] = set()
_found: dict[str, str] = {}
"""Secrets that were in the environment when it was cleared of Knockon's own variables."""


def resolve(value: Any) -> Any:
    """The value with all references in its texts resolved. Raises InvalidInput."""
    if isinstance(value, str):
        return REFERENCE.sub(lambda found: _secret(found[1]), value)
    if isinstance(value, Mapping):
        return {key: resolve(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(each) for each in value]
    return value


def resolve_url(url: str) -> str:
    """The address with its references resolved, so that any character may be in a secret."""
    return REFERENCE.sub(lambda found: quote(_secret(found[1]), safe=""), url)


def _secret(name: str) -> str:
    variable = PREFIX + name
    value = os.environ.get(variable) or _found.get(variable)
    if not value:
        raise InvalidInput(
            f"the DAG file refers to ${{{name}}}: set {variable} in the environment of this process"
        )
    _hide(value)
    return value


def clear_environment() -> None:
    """Remove Knockon's own variables, so that jobs run in this process do not inherit them.

    Settings have to be read before. Secrets stay within reach of `resolve`.
    """
    for name in [*os.environ]:
        if name.startswith("KNOCKON_"):
            value = os.environ.pop(name)
            if name.startswith(PREFIX):
                _found[name] = value


def hide_settings(settings: Settings) -> None:
    """Keep the secrets of the settings out of logs and messages."""
    for secret in (
        settings.kafka_sasl_password,
        settings.kafka_ssl_key_password,
        settings.openlineage_api_key,
    ):
        if secret is not None:
            _hide(secret.get_secret_value())
    if settings.openlineage_url is not None:
        _hide_written(urlsplit(settings.openlineage_url).password or "")
    for url in (settings.database_url, settings.source_url):
        if url is not None:
            _hide_passwords(url)
    _hide(os.environ.get("PGPASSWORD", ""))


def _hide_passwords(url: str) -> None:
    for found in _WRITTEN_PASSWORD.finditer(url):
        _hide_written(found[1] or found[2])
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        return
    for name in ("password", "sslpassword"):
        password = str(parts.get(name) or "")
        if password not in (parts.get("user"), parts.get("dbname"), parts.get("host")):
            _hide(password)


def _hide_written(password: str) -> None:
    """A password as an address writes it, in which any character may be percent-encoded."""
    _hide(password)
    _hide(unquote(password))


def _hide(value: str) -> None:
    if len(value) >= _SHORTEST and value not in _NO_SECRETS:
        # also as JSON and Python write it within a text
        escaped = (json.dumps(value)[1:-1], repr(value)[1:-1])
        _hidden.update({value, quote(value, safe=""), quote(value), *escaped})


def longest_secret() -> int:
    """The number of characters of the longest text that `redacted` replaces."""
    return max(map(len, _hidden), default=0)


def redacted(text: str) -> str:
    """The text without any of the secrets that this process uses."""
    for value in sorted(_hidden, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return text
