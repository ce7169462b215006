"""The shell operator: a command in a process group of its own."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from engine.errors import InvalidInput, TaskFailed
from engine.model.job import Job
from engine.worker.context import Context, Result
from engine.worker.operators.report import read_outputs

_TAIL = 4_000
"""How many of the last bytes of an output stream are looked at."""
_GRACE_SECONDS = 2.0


class Shell:
    """Runs ``config.command``: a list of arguments, or a text for ``/bin/sh -c``."""

    async def run(self, context: Context) -> Result:
        """See `Operator`. Exit code 0 is success; a last line of JSON says what was written."""
        process = await _start(context)
        try:
            streams = [_tail(each) for each in (process.stdout, process.stderr) if each]
            out, error = await asyncio.gather(*streams)
            code = await process.wait()
        finally:
            await _kill_group(process)
        if code != 0:
            raise TaskFailed(
                f"the command ended with code {code}: {error.decode(errors='replace')}"
            )
        return _result(out)


async def _start(context: Context) -> Process:
    command = _command(context.lease.job)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdout=PIPE,
            stderr=PIPE,
            stdin=asyncio.subprocess.DEVNULL,
            env={**os.environ, **environment(context)},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"job {context.lease.job.name!r}: {command[0]!r} cannot be started ({error}): install "
            "it where the worker runs, or mend config.command"
        ) from error


def _command(job: Job) -> Sequence[str]:
    said = job.config.get("command")
    if isinstance(said, str) and said.strip():
        return ["/bin/sh", "-c", said]
    if isinstance(said, list) and said and all(isinstance(each, str) for each in said):
        return said
    raise InvalidInput(f"job {job.name!r}: config.command must be a text or a list of texts")


def environment(context: Context) -> Mapping[str, str]:
    """What a command is told of its task, in variables; those of several values are JSON."""
    lease = context.lease
    return {
        "KNOCKON_TASK_ID": str(lease.task_id),
        "KNOCKON_JOB": lease.job.name,
        "KNOCKON_ATTEMPT": str(lease.attempt),
        "KNOCKON_WORKER_ID": lease.worker_id,
        "KNOCKON_PARTITIONS": _json(lease.partitions),
        "KNOCKON_OUTPUTS": _json([output.name for output in lease.outputs]),
        "KNOCKON_INPUTS": _json({alias: _input(context, alias) for alias in lease.inputs}),
        "KNOCKON_ROW_FILTERS": _json(lease.row_filters),
        "KNOCKON_CURSORS": _json({str(key): value for key, value in lease.cursors.items()}),
    }


def _input(context: Context, alias: str) -> Mapping[str, object]:
    dataset = context.inputs[alias]
    needed = [context.needs(alias, partition) for partition in context.partitions]
    return {
        "id": str(dataset.id),
        "dataset": dataset.name,
        "table": context.table(alias),
        "location": dataset.location,
        "partitions": sorted({text for each in needed for text in each.space.texts(each)}),
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """The end of what comes; the rest is read and let go, so that the command never waits."""
    tail = b""
    while chunk := await stream.read(65_536):
        tail = (tail + chunk)[-_TAIL:]
    return tail


async def _kill_group(process: Process) -> None:
    """Nothing that the command has started outlives its run."""
    for each in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, each)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)


def _result(out: bytes) -> Result:
    lines = out.decode(errors="replace").strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        return Result()
    with suppress(msgspec.DecodeError):
        return read_outputs(msgspec.json.decode(lines[-1]))
    return Result()
