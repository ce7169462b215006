"""Fixtures of the fault tests: the harness, the random seed, and the report of observations."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engine.embedded.broker import Broker
from tests.faults.harness import Harness, open_harness
from tests.support.apache_kafka import ApacheKafka

SEED = os.environ.get("FAULT_SEED", "1")
_LINES = pytest.StashKey[list[str]]()

HarnessFactory = Callable[..., Awaitable[Harness]]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []


def pytest_report_header() -> str:
    return f"FAULT_SEED={SEED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set timeouts that suffice for a busy machine."""
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
    """The session's broker, if it can be killed; restarted after the test if necessary."""
    if not isinstance(kafka, ApacheKafka):
        pytest.skip("an external Kafka cannot be killed")
    yield kafka
    if not kafka.answers:
        kafka.kill()  # a failed test may have left it frozen
        kafka.start()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """Injections and observations, written as the fault's line of the report."""
    observations: dict[str, object] = {}
    started = time.monotonic()
    yield observations
    observations["seconds"] = f"{time.monotonic() - started:.1f}"
    line = ", ".join(f"{label} {value}" for label, value in observations.items())
    name = request.node.name.removeprefix("test_").replace("_", " ")
    request.config.stash[_LINES].append(f"  {name}: {line} (FAULT_SEED={SEED})")


@pytest.fixture
async def make_harness(
    seed: str, report: dict[str, object], kafka: Broker, database_url: str, tmp_path: Path
) -> AsyncIterator[HarnessFactory]:
    """Factory of harnesses, optionally with additional jobs or another database."""
    async with AsyncExitStack() as stack:

        async def make(url: str = database_url, **more: str) -> Harness:
            harness = await stack.enter_async_context(
                open_harness(seed, url, kafka, tmp_path, **more)
            )
            harness.observations = report
            return harness

        yield make


@pytest.fixture
async def harness(make_harness: HarnessFactory) -> Harness:
    """A harness with the default jobs and database."""
    return await make_harness()
