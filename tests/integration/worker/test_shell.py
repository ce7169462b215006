"""The shell operator: commands, their input and reports, and cleanup of their processes."""

import asyncio
import os
import select
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import InvalidInput, TaskFailed
from engine.flow.execution.cancel import cancel
from engine.model.task import MAX_LOG_BYTES, Lease, Output
from engine.store.database import Database
from engine.worker import Context, Result
from engine.worker.operators.shell import Shell, environment
from tests.support.workers import context, with_config
from tests.support.worlds import World, job, source


async def _context(database: Database, command: Any) -> Context:
    world = await World.made(
        database,
        source("orders"),
        job("made", "orders", operator="shell", config={"command": command}),
    )
    await world.changed("orders", "2013-02-13")
    (lease,) = await world.claim()
    return context(world, lease)


async def test_a_command_receives_its_task_in_the_environment(
    database: Database, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = f"env | grep -E 'KNOCKON_|OPENLINEAGE_' > {told}"
    task = await _context(database, command)

    assert await Shell().run(task) == Result()

    lines = set(told.read_text().splitlines())
    assert f"KNOCKON_TASK_ID={task.lease.task_id}" in lines
    assert "KNOCKON_ATTEMPT=1" in lines
    assert 'KNOCKON_PARTITIONS=["2013-02-13"]' in lines
    (inputs,) = [line for line in lines if line.startswith("KNOCKON_INPUTS")]
    assert '"table":"orders"' in inputs
    assert '"partitions":["2013-02-13"]' in inputs
    assert f"OPENLINEAGE_PARENT_ID=knockon/w.made/{task.lease.run_id}" in lines


async def test_a_command_receives_the_existing_partitions_of_an_input(database: Database) -> None:
    """The size of the environment is limited, so that too many are replaced by their range."""
    by_key = {"key": {"dynamic": True}}
    world = await World.made(
        database,
        source("orders", by_key),
        job("copy", "orders", partitioning=by_key),
        job("made", {"dataset": "copy", "mapping": "all"}, operator="shell", partitioning={}),
    )
    await world.changed("orders", "k0", "k1", "k2")
    for lease in await world.claim():
        if lease.block_key == "k2":
            async with world.conn() as conn:
                await cancel(conn, world.org, lease.task_id)
        else:
            await world.finish(lease)
    (lease,) = await world.claim()
    assert _partitions_in(world, lease) == ["k0", "k1"]

    ((dataset, versions),) = lease.input_versions.items()
    many = {f"k{i}": versions["k0"] for i in range(1001)}
    assert _partitions_in(world, replace(lease, input_versions={dataset: many})) == ["*"]


def _partitions_in(world: World, lease: Lease) -> Any:
    variables = environment(context(world, lease))
    (described,) = msgspec.json.decode(variables["KNOCKON_INPUTS"]).values()
    return described["partitions"]


async def test_the_last_line_may_report_outputs(database: Database) -> None:
    line = '{"outputs": [{"dataset": "made", "partition": "2013-02-13", "fingerprint": "f"}]}'
    command = ["printf", "%s\\n", "working...", line]

    result = await Shell().run(await _context(database, command))

    assert result == Result((Output("made", "2013-02-13", fingerprint="f"),))


@pytest.mark.parametrize("line", ["done", "{not json}", ""])
async def test_any_other_last_line_reports_nothing(database: Database, line: str) -> None:
    assert await Shell().run(await _context(database, ["echo", line])) == Result()


async def test_a_nonzero_exit_fails_with_the_end_of_stderr(database: Database) -> None:
    command = (
        "head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; echo 'no such flight' >&2; exit 3"
    )

    with pytest.raises(TaskFailed, match=r"ended with code 3: no such flight\nx+") as failed:
        await Shell().run(await _context(database, command))

    assert len(str(failed.value)) < 65_000


async def test_a_cancelled_command_is_killed_with_its_children(
    database: Database, tmp_path: Path
) -> None:
    pipe = tmp_path / "pids"
    os.mkfifo(pipe)
    command = f"trap '' TERM; sleep 600 & echo $$ $! > {pipe}; wait; sleep 600"
    running = asyncio.create_task(Shell().run(await _context(database, command)))
    pids = [int(pid) for pid in (await asyncio.to_thread(pipe.read_text)).split()]

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert [_ends(pid) for pid in pids] == [True, True]


async def test_background_processes_end_with_the_command(
    database: Database, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    command = f"sleep 600 & echo $! > {pid_file}"

    await Shell().run(await _context(database, command))

    assert _ends(int(pid_file.read_text()))


@pytest.mark.parametrize("command", [None, "", [], [1], ["/no/such/program"], ["a\0b"]])
async def test_a_command_that_cannot_be_started_is_rejected(
    database: Database, command: Any
) -> None:
    task = await _context(database, "true")
    other = replace(task, lease=with_config(task.lease, command=command))
    with pytest.raises(InvalidInput, match="job 'made'"):
        await Shell().run(other)


def _ends(pid: int) -> bool:
    """Return true if a process has ended or is ending, including a zombie."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


async def test_the_log_is_the_output_and_then_the_errors(database: Database) -> None:
    task = await _context(database, "echo building; echo odd >&2; echo built")
    await Shell().run(task)
    assert task.log.text() == "building\nbuilt\n--- stderr ---\nodd\n"


@pytest.mark.parametrize(("command", "log"), [("echo out", "out\n"), ("echo bad >&2", "bad\n")])
async def test_a_log_of_one_stream_has_no_heading(
    database: Database, command: str, log: str
) -> None:
    task = await _context(database, command)
    await Shell().run(task)
    assert task.log.text() == log


async def test_the_log_has_the_ends_of_both_streams(database: Database) -> None:
    write = "head -c 300000 /dev/zero | tr '\\0'"
    task = await _context(database, f"{write} o; echo out; {write} e >&2; echo error >&2; exit 1")
    with pytest.raises(TaskFailed):
        await Shell().run(task)
    out, errors = task.log.text().split("--- stderr ---\n")
    for log, letter, last in (out, "o", "out"), (errors, "e", "error"):
        assert "earlier bytes are omitted]" in log.splitlines()[0]
        assert log.count(letter) > 30_000
        assert log.endswith(f"{letter}{last}\n")
    assert len(task.log.text().encode()) <= MAX_LOG_BYTES


async def test_a_stopped_command_has_a_log(database: Database, tmp_path: Path) -> None:
    pipe = tmp_path / "started"
    os.mkfifo(pipe)
    task = await _context(database, f"echo so far; echo > {pipe}; sleep 600")
    running = asyncio.create_task(Shell().run(task))
    await asyncio.to_thread(pipe.read_text)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert task.log.text() == "so far\n"
