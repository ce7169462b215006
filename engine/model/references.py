"""References to secrets in DAG files, ``${NAME}``, and detection of literal secrets."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from engine.model.source_positions import Path

PREFIX = "KNOCKON_SECRET_"
REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The parts are bounded, or the search would begin again at every word of a long text.
_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{0,40}:/{0,9}[^\s/@:'\"]{0,500}:([^\s/@'\"]{1,500})@")
_KEYWORD = re.compile(r"(?:password|passwd)\s*=\s*('[^']+'|[^\s'\";]+)", re.IGNORECASE)
_OPTION = re.compile(r"--(?:password|passwd|token)\s+('[^']+'|[^\s'\";-][^\s'\";]*)")
_HEADER = re.compile(r"\bauthorization:\s*\w+\s+([^\s'\"]+)", re.IGNORECASE)
_SECRET_KEY = re.compile(
    r"(?i:password|passwd|passphrase)[_-]?\d*$"
    r"|(?:(?i:^|[_-])(?i:pwd|secret|token|credentials?|(?:api|access|secret|private)[_-]?key)"
    r"|[a-z](?:Pwd|Secret|Token|Credentials?|(?:Api|Access|Secret|Private)Key))[_-]?\d*$"
)


def is_environment(value: Any) -> bool:
    """Return whether the value is valid as a job's environment, beside Knockon's own variables."""
    return isinstance(value, Mapping) and all(
        isinstance(name, str)
        and _VARIABLE.fullmatch(name)
        and not name.startswith("KNOCKON_")
        and isinstance(text, str)
        and "\0" not in text
        for name, text in value.items()
    )


def literal_secrets(value: Any, path: Path = ()) -> Iterator[Path]:
    """Find the paths of literal secrets: a password in an address, or a value with a secret key."""
    if isinstance(value, str):
        if _holds_secret(value, path):
            yield path
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from literal_secrets(each, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from literal_secrets(each, (*path, index))


def _holds_secret(text: str, path: Path) -> bool:
    found = [*_URL.findall(text)]
    if "sql" not in path:  # in SQL these may be conditions on a column called password
        found += [*_KEYWORD.findall(text), *_OPTION.findall(text), *_HEADER.findall(text)]
    if path and _SECRET_KEY.search(str(path[-1])) and text.strip():
        found.append(text)
    return any(not _is_reference(each) for each in found)


def _is_reference(text: str) -> bool:
    """Return whether the text has only references (also a shell's ``$NAME``), apart from quotes."""
    return not re.sub(r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?", "", text).strip("'\"")
