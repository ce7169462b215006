"""The place of faults, the seed of their random draws, and the report of observations."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engine.embedded.broker import Broker
from tests.faults.scene import Scene, staged
from tests.support.apache_kafka import ApacheKafka

SEED = os.environ.get("FAULT_SEED", "1")
_LINES = pytest.StashKey[list[str]]()

Stager = Callable[..., Awaitable[Scene]]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []


def pytest_report_header() -> str:
    return f"FAULT_SEED={SEED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Waits for conditions get enough time for a busy machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(7200 if "million" in item.name else 900))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[_LINES]:
        terminalreporter.write_line(line)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """The run's seed and the fault's name, so that each fault draws independently."""
    return f"{SEED} {request.node.name}"


@pytest.fixture
def kafka(kafka: Broker) -> Iterator[ApacheKafka]:
    """The session's broker, if it can be killed; running again after the test in any case."""
    if not isinstance(kafka, ApacheKafka):
        pytest.skip("this Kafka is not ours to be killed")
    yield kafka
    if not kafka.answers:
        kafka.start()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """Injections and observations, written as the fault's line of the report."""
    seen: dict[str, object] = {}
    began = time.monotonic()
    yield seen
    seen["seconds"] = f"{time.monotonic() - began:.1f}"
    said = ", ".join(f"{what} {count}" for what, count in seen.items())
    name = request.node.name.removeprefix("test_").replace("_", " ")
    request.config.stash[_LINES].append(f"  {name}: {said} (FAULT_SEED={SEED})")


@pytest.fixture
async def stage(
    seed: str, report: dict[str, object], kafka: Broker, database_url: str, tmp_path: Path
) -> AsyncIterator[Stager]:
    """Factory of scenes, with the fault's own jobs and database if any."""
    async with AsyncExitStack() as stack:

        async def make(url: str = database_url, **more: str) -> Scene:
            scene = await stack.enter_async_context(staged(seed, url, kafka, tmp_path, **more))
            scene.seen = report
            return scene

        yield make


@pytest.fixture
async def scene(stage: Stager) -> Scene:
    """A scene for faults without special needs."""
    return await stage()
