"""Run a PostgreSQL program as somebody else when we are root, which it refuses to serve.

The program becomes `nobody` and keeps one capability: to pass directories such as /root that
only root may enter. So no directory on the way to its data has to be opened up to everyone.
"""

import os
import shutil
from pathlib import Path

from engine.errors import ServiceUnavailable

_NOBODY = 65534


def drop_privileges(argv: list[str]) -> list[str]:
    """Return `argv` as it is, or wrapped to run as nobody when we are root."""
    return [*_prefix(), *argv] if os.geteuid() == 0 else argv


def chown_to_nobody(directory: Path) -> None:
    """Let the one who runs unrooted programs own `directory` itself, not its contents."""
    if os.geteuid() != 0:
        return
    try:
        os.chown(directory, _NOBODY, _NOBODY)
    except PermissionError as error:
        raise ServiceUnavailable(
            f"root may not give {directory} to nobody here, as the embedded PostgreSQL needs: "
            "run as another user, or set KNOCKON_DATABASE_URL"
        ) from error


def _prefix() -> list[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ServiceUnavailable(
            "the embedded PostgreSQL cannot run as root here, because the setpriv program "
            "(util-linux) is missing: run as another user, or set KNOCKON_DATABASE_URL"
        )
    caps = "-all,+dac_override"
    # without these bits access(2), by which initdb looks for its programs, ignores the capability
    bits = "--securebits=+no_setuid_fixup"
    who = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return [setpriv, *who, bits, f"--inh-caps={caps}", f"--ambient-caps={caps}"]
