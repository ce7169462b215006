"""Run PostgreSQL programs as the user `nobody` in a process of root, as PostgreSQL requires.

The program retains one capability, to traverse directories such as /root that only root may enter.
Permissions of the directories above the data directory therefore need no change.
"""

import os
import shutil
from pathlib import Path

from engine.errors import ServiceUnavailable

_NOBODY = 65534


def drop_privileges(argv: list[str]) -> list[str]:
    """Return `argv`, wrapped to run as nobody if this process runs as root."""
    if os.geteuid() != 0:
        return argv
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ServiceUnavailable(
            "the embedded PostgreSQL cannot run as root here, because the setpriv program "
            "(util-linux) is missing: run as another user, or set KNOCKON_DATABASE_URL"
        )
    capabilities = "-all,+dac_override"
    user = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    # Without this bit access(2), which initdb uses to find its programs, ignores the capability.
    bits = "--securebits=+no_setuid_fixup"
    sets = [f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
    return [setpriv, *user, bits, *sets, *argv]


def chown_to_nobody(directory: Path) -> None:
    """Make nobody the owner of `directory`, but not of the contents, if running as root."""
    if os.geteuid() != 0:
        return
    try:
        os.chown(directory, _NOBODY, _NOBODY)
    except PermissionError as error:
        raise ServiceUnavailable(
            f"root cannot change the owner of {directory} to nobody here, which the embedded "
            "PostgreSQL needs: run as another user, or set KNOCKON_DATABASE_URL"
        ) from error
