"""Secrets: resolve the references in DAG files, and redact the values in logs and messages.

A DAG file contains ``${NAME}`` in place of a secret. The value is the environment variable
``KNOCKON_SECRET_NAME`` of the process that uses the secret. The operator thus controls which
secrets DAG files can access, and only the reference is stored.
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
"""Matches passwords even in an address that libpq cannot parse."""
_hidden: set[str] = set()
_removed: dict[str, str] = {}
"""Secrets that `clear_environment` has removed from the environment."""


def resolve(value: Any) -> Any:
    """Resolve all references in the texts of a value. Raises InvalidInput."""
    if isinstance(value, str):
        return REFERENCE.sub(lambda reference: _secret(reference[1]), value)
    if isinstance(value, Mapping):
        return {key: resolve(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item) for item in value]
    return value


def resolve_url(url: str) -> str:
    """Resolve the references in an address, percent-encoding each secret."""
    return REFERENCE.sub(lambda reference: quote(_secret(reference[1]), safe=""), url)


def _secret(name: str) -> str:
    variable = PREFIX + name
    value = os.environ.get(variable) or _removed.get(variable)
    if not value:
        raise InvalidInput(
            f"the DAG file refers to ${{{name}}}: set {variable} in the environment of this process"
        )
    _hide(value)
    return value


def clear_environment() -> None:
    """Remove Knockon's own variables, so that jobs run in this process do not inherit them.

    Settings must have been read before. `resolve` still finds the secrets.
    """
    for name in [*os.environ]:
        if name.startswith("KNOCKON_"):
            value = os.environ.pop(name)
            if name.startswith(PREFIX):
                _removed[name] = value


def hide_settings(settings: Settings) -> None:
    """Redact the secrets of the settings in logs and messages."""
    for secret in (
        settings.kafka_sasl_password,
        settings.kafka_ssl_key_password,
        settings.openlineage_api_key,
        settings.oidc_client_secret,
        settings.key,
    ):
        if secret is not None:
            _hide(secret.get_secret_value())
    if settings.openlineage_url is not None:
        _hide_written(urlsplit(settings.openlineage_url).password or "")
    for url in (settings.database_url, settings.direct_url, settings.source_url):
        if url is not None:
            _hide_passwords(url)
    _hide(os.environ.get("PGPASSWORD", ""))


def _hide_passwords(url: str) -> None:
    for password in _WRITTEN_PASSWORD.finditer(url):
        _hide_written(password[1] or password[2])
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        return
    for name in ("password", "sslpassword"):
        value = str(parts.get(name) or "")
        if value not in (parts.get("user"), parts.get("dbname"), parts.get("host")):
            _hide(value)


def _hide_written(password: str) -> None:
    """Hide a password of an address, which may be percent-encoded, in both forms."""
    _hide(password)
    _hide(unquote(password))


def _hide(value: str) -> None:
    if len(value) >= _SHORTEST and value not in _NO_SECRETS:
        # the escaped forms of JSON and Python literals, too
        escaped = (json.dumps(value)[1:-1], repr(value)[1:-1])
        _hidden.update({value, quote(value, safe=""), quote(value), *escaped})


def longest_secret() -> int:
    """Return the length of the longest text that `redacted` replaces."""
    return max(map(len, _hidden), default=0)


def redacted(text: str) -> str:
    """Remove all secrets of this process from a text."""
    for value in sorted(_hidden, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return text
