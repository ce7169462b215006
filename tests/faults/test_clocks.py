"""The clocks of the machines are ten minutes off, in different directions."""

import shutil
import subprocess
from datetime import datetime

import pytest

from tests.faults.scene import Scene, only_at_length, rounds


def clock(offset: str) -> dict[str, str]:
    """Environment that shifts a process's wall clock; its monotonic clock is unaffected."""
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("no clock can be set off here: install faketime")
    told = subprocess.run(
        [faketime, "-f", offset, "env"], capture_output=True, text=True, check=True
    )
    pairs = dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)
    preload, shift = pairs["LD_PRELOAD"], pairs["FAKETIME"]
    return {"LD_PRELOAD": preload, "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@only_at_length
async def test_clocks_that_are_ten_minutes_off(scene: Scene) -> None:
    fast, slow = clock("+10m"), clock("-10m")
    scene.services.start("engine", **fast)
    scene.services.start("engine-2", **slow)
    scene.services.start("worker", **slow)
    scene.services.start("worker-2", **fast)
    scene.services.start("consume", **fast)
    for _ in range(rounds(2)):
        await scene.produce(200)
        scene.services.kill("worker")  # only the database's clock expires its leases
        scene.services.start("worker", **slow)
        scene.count("kills of worker")
    await scene.assert_right()
    assert minutes_off(scene, "engine") > 9
    assert minutes_off(scene, "worker") < -9
    off = scene.rows("SELECT max(attempts) FROM tasks")[0][0]
    scene.seen |= {"clocks": "+10 min and -10 min", "most attempts": off}


def minutes_off(scene: Scene, name: str) -> float:
    """Difference between the time in a process's first log line and the log file's modification."""
    log = scene.services.log_of(name)
    said = datetime.fromisoformat(log.read_text().split(maxsplit=1)[0])
    return (said.timestamp() - log.stat().st_mtime) / 60
