"""Child processes that end when the parent ends, even by SIGKILL.

The parent holds a pipe open, which the kernel closes at the parent's exit. A watching shell then
sends the stop signal to the child.
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


class ChildProcess:
    """A running child process, with the output appended to a log file."""

    def __init__(self, argv: list[str], *, stop_signal: str, log: Path) -> None:
        """Start `argv`; `stop_signal` is a name such as INT. Raises OSError if the start fails."""
        # Some of Knockon's variables are secret, and the child needs none of them.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("KNOCKON_")
        }
        with log.open("ab") as output:
            self._shell = subprocess.Popen(  # noqa: S603 our own programs only
                ["/bin/sh", "-c", _SCRIPT, "child_process", stop_signal, *argv],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that Ctrl-C in a terminal reaches only the parent
                env=environment | {"LC_ALL": "C"},
            )

    @property
    def running(self) -> bool:
        """True while the child is running."""
        return self._shell.poll() is None

    def stop(self, timeout: float) -> None:
        """Send the stop signal and wait; after `timeout` seconds, kill the entire process group."""
        try:
            self._shell.communicate(timeout=timeout)  # closes the pipe, then waits
        except subprocess.TimeoutExpired:
            os.killpg(self._shell.pid, 9)
            self._shell.wait()
