"""`make containers`: the compose scenario, then the tests on servers in containers.

Without an engine or images, print the reason and succeed.
"""

import json
import os
import sys
from pathlib import Path

import pytest

from engine.errors import ServiceUnavailable
from tests.containers.docker import ENGINE, PrivateEngine, docker_engine
from tests.containers.stack import compose_command
from tests.containers.standins import provide_images

_HERE = Path(__file__).parent
_TESTS = _HERE.parent
_ON_CONTAINERS = ("integration", "acceptance")


class _Handing:
    """Pass the private engine to the scenario."""

    def __init__(self, engine: PrivateEngine | None) -> None:
        self._engine = engine

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[ENGINE] = self._engine


def main() -> int:
    """Run the scenario, then the given tests, by default all tests with PostgreSQL or Kafka."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "knockon"
    tests = sys.argv[1:] or [str(_TESTS / name) for name in _ON_CONTAINERS]
    try:
        with docker_engine(cache / "docker") as engine:
            os.environ["KNOCKON_TEST_COMPOSE"] = json.dumps(compose_command(cache))
            os.environ["KNOCKON_TEST_LOG"] = str(cache / "compose.log")
            if engine is not None:
                provide_images()
                os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # Ryuk needs a further image
            failed = pytest.main(["-vv", "-s", str(_HERE / "scenario.py")], [_Handing(engine)])
            return int(failed) or _on_containers(tests)
    except ServiceUnavailable as reason:
        print(f"skipped: {reason}")
        return 0


def _on_containers(tests: list[str]) -> int:
    if tests == ["none"]:
        return 0
    return int(pytest.main(["-n", "auto", "--maxprocesses=2", *tests]))


if __name__ == "__main__":
    sys.exit(main())
