"""The clocks of the machines are ten minutes off, in different directions."""

import shutil
import subprocess
from datetime import datetime

import pytest

from tests.faults.harness import Harness, long_run_only, rounds


def clock(offset: str) -> dict[str, str]:
    """Environment that shifts a process's wall clock; its monotonic clock is unaffected."""
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("install faketime to shift clocks")
    environment = subprocess.run(
        [faketime, "-f", offset, "env"], capture_output=True, text=True, check=True
    )
    pairs = dict(line.split("=", 1) for line in environment.stdout.splitlines() if "=" in line)
    preload, shift = pairs["LD_PRELOAD"], pairs["FAKETIME"]
    return {"LD_PRELOAD": preload, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@long_run_only
async def test_clocks_are_ten_minutes_off(harness: Harness) -> None:
    fast, slow = clock("+10m"), clock("-10m")
    harness.services.start("engine", **fast)
    harness.services.start("engine-2", **slow)
    harness.services.start("worker", **slow)
    harness.services.start("worker-2", **fast)
    harness.services.start("consume", **fast)
    for _ in range(rounds(2)):
        await harness.produce(200)
        harness.services.kill("worker")  # only the database's clock expires its leases
        harness.services.start("worker", **slow)
        harness.count("kills of worker")
    await harness.assert_consistent()
    assert minutes_off(harness, "engine") > 9
    assert minutes_off(harness, "worker") < -9
    attempts = harness.scalar("SELECT max(attempts) FROM tasks")
    harness.observations |= {"clocks": "+10 min and -10 min", "most attempts": attempts}


def minutes_off(harness: Harness, name: str) -> float:
    """Difference between the time in a process's first log line and the log file's modification."""
    log = harness.services.log_of(name)
    logged = datetime.fromisoformat(log.read_text().split(maxsplit=1)[0])
    return (logged.timestamp() - log.stat().st_mtime) / 60
