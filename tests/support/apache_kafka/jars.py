"""The jars of Apache Kafka, fetched once by Maven and verified by checksum."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.embedded.postgres import locked
from engine.errors import ServiceUnavailable

_HERE = Path(__file__).parent
CHECKSUMS = _HERE / "jars.sha256"
_FETCH_SECONDS = 90  # a test has 120 seconds; Maven keeps finished downloads


def cached_jars(fetch_seconds: float = _FETCH_SECONDS) -> Path:
    """The directory of the jars. Raises ServiceUnavailable with the missing prerequisite.

    The directory is in the user's cache, and exists only if every jar was fetched and verified.
    """
    digest = hashlib.sha256(CHECKSUMS.read_bytes()).hexdigest()[:12]
    jars = _cache() / f"kafka-{digest}"
    with locked(jars):
        if not jars.exists():
            _make(jars, fetch_seconds)
    return jars


def checksums(jars: Path) -> str:
    """One line for each jar, in the format of sha256sum."""
    return "".join(f"{_sha256(each)}  {each.name}\n" for each in sorted(jars.glob("*.jar")))


def fetch(into: Path, seconds: float, pom: Path = _HERE / "pom.xml") -> None:
    """Have Maven copy the jars of a POM into a directory. Raises ServiceUnavailable."""
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"]
    options = ["--batch-mode", "--quiet", "--strict-checksums", f"--file={pom}"]
    try:
        subprocess.run(
            [_maven(), *options, *goal], check=True, timeout=seconds, capture_output=True
        )
    except subprocess.SubprocessError as error:
        said = (error.output or b"").decode(errors="replace")[:500]
        raise ServiceUnavailable(f"Maven cannot get Apache Kafka's jars: {error} {said}") from error


def _make(jars: Path, seconds: float) -> None:
    with TemporaryDirectory(dir=jars.parent) as made:
        fetch(Path(made) / "jars", seconds)
        differing = _differing(checksums(Path(made) / "jars"), CHECKSUMS.read_text())
        if differing:
            raise ServiceUnavailable(
                f"Apache Kafka's jars are not those of {CHECKSUMS.name}: {', '.join(differing)}"
            )
        (Path(made) / "jars").rename(jars)


def _differing(found: str, wanted: str) -> list[str]:
    return sorted({line.split()[1] for line in _lines(found) ^ _lines(wanted)})


def _lines(text: str) -> set[str]:
    return set(text.splitlines())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _maven() -> str:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceUnavailable("no Apache Kafka here: install Maven, or set KNOCKON_TEST_KAFKA")
    return maven


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "knockon"
