"""Reference pages generated from the code, by path."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.documentation import client, command_line, http_api, metrics, permissions, settings

ROOT = Path(__file__).parents[2]
PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/command-line.md": command_line.page,
    "docs/reference/http-api.md": http_api.page,
    "docs/reference/settings.md": settings.page,
    "docs/reference/permissions.md": permissions.page,
    "docs/reference/metrics.md": metrics.page,
    "engine/client/generated/blocking.py": client.blocking,
    "engine/client/generated/asynchronous.py": client.asynchronous,
}
