"""Keys stored by `knockon login`, by address of the server, in a file of the user."""

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import InvalidInput


def stored_key(url: str) -> str | None:
    """Return the key stored for a server. Raises InvalidInput."""
    return _read().get(url)


def store_key(url: str, key: str) -> Path:
    """Store the key for a server, readable for the user only; return the file."""
    return _write({**_read(), url: key})


def remove_key(url: str) -> bool:
    """Remove the key for a server; return false if there was none."""
    keys = _read()
    if url not in keys:
        return False
    _write({server: key for server, key in keys.items() if server != url})
    return True


def keys_file() -> Path:
    """Return the file below `$XDG_CONFIG_HOME`, by default `~/.config`."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "knockon" / "keys.json"


def _read() -> dict[str, str]:
    file = keys_file()
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            text = opened.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InvalidInput(
            f"{file} has keys, and other users of the machine have access: run chmod 600 {file}, "
            "and revoke the keys if others may have read them"
        )
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        raise InvalidInput(
            f"{file} is not a file of keys: remove it, and run 'knockon login'"
        ) from None


def _write(keys: Mapping[str, str]) -> Path:
    """Replace the file at once, so that no reader finds a part of it."""
    file = keys_file()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Temporary files have the mode 0600 from the beginning.
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(msgspec.json.format(msgspec.json.encode(keys)))
        Path(name).replace(file)
    except OSError as error:
        raise InvalidInput(f"cannot write {file}: {error.strerror}") from None
    return file
