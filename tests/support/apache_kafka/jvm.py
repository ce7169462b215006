"""Java invocations tuned for small memory and a quick start."""

import os
import subprocess
from pathlib import Path
from shutil import which

from engine.errors import ServiceUnavailable

_OLDEST = 17
_OPTIONS = [
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xlog:disable",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
]


class Jvm:
    """The installed Java with the jars of a directory. Raises ServiceUnavailable."""

    def __init__(self, jars: Path) -> None:
        self.jars = jars
        self._java = _java()
        self._archive = jars / "classes.jsa"
        self._recorded = jars / f"classes-{os.getpid()}.jsa"

    def run(self, *argv: str) -> None:
        """Run a main class until it exits. Raises CalledProcessError."""
        subprocess.run([*self._command(), *argv], check=True, stdout=subprocess.DEVNULL)

    def serving(self, *argv: str) -> list[str]:
        """The command line of a server; a class archive of an earlier run halves the start time."""
        sharing = f"-XX:ArchiveClassesAtExit={self._recorded}"
        if self._archive.exists():
            sharing = f"-XX:SharedArchiveFile={self._archive}"
        return [*self._command(), sharing, *argv]

    def keep_recorded(self) -> None:
        """Keep the class archive of a finished server for later starts."""
        if self._recorded.exists():
            self._recorded.replace(self._archive)

    def _command(self) -> list[str]:
        classpath = ":".join(str(each) for each in sorted(self.jars.glob("*.jar")))
        return [self._java, *_OPTIONS, f"--class-path={classpath}"]


def _java() -> str:
    java = which("java")
    if java is None:
        raise ServiceUnavailable(f"no Apache Kafka here: install Java {_OLDEST} or newer")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    version = said.partition('"')[2].partition('"')[0].partition(".")[0]
    if not version.isdecimal() or int(version) < _OLDEST:
        raise ServiceUnavailable(f"Apache Kafka needs Java {_OLDEST}, and {java} is {version!r}")
    return java
