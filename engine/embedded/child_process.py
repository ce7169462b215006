"""A child process that ends when we do, however we end.

The child hangs on a pipe that only we hold open. The kernel closes it on a normal exit, on
SIGTERM and on SIGKILL alike, and then the child is sent its stop signal.
"""

import os
import subprocess
from pathlib import Path

_SCRIPT = """
exec 3<&0 </dev/null
signal=$1; shift
"$@" 3<&- & child=$!
{ read -r _ <&3; kill -s "$signal" "$child"; } 2>/dev/null & watcher=$!
exec 3<&-
wait "$child"; code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"""


def _environment() -> dict[str, str]:
    """Ours without Knockon's variables, of which some are secret and none is for the child."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KNOCKON_")}
    return kept | {"LC_ALL": "C"}


class ChildProcess:
    """A running child, with its output appended to a log file."""

    def __init__(self, argv: list[str], *, stop_signal: str, log: Path) -> None:
        """Start `argv`; `stop_signal` is a name such as INT. Raises OSError when it cannot."""
        with log.open("ab") as output:
            self._shell = subprocess.Popen(  # noqa: S603 our own programs only
                ["/bin/sh", "-c", _SCRIPT, "child_process", stop_signal, *argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in a terminal is ours to answer, not the child's
                env=_environment(),
            )

    @property
    def running(self) -> bool:
        """Whether the child is still there."""
        return self._shell.poll() is None

    def stop(self, timeout: float) -> None:
        """Send the stop signal and wait; after `timeout` seconds kill the whole family."""
        try:
            self._shell.communicate(timeout=timeout)  # closes the pipe, then waits
        except subprocess.TimeoutExpired:
            os.killpg(self._shell.pid, 9)
            self._shell.wait()
