"""The shell operator: run a command in a new process group."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import BinaryIO

import msgspec

from engine.errors import InvalidInput, TaskFailed
from engine.model.job import Job
from engine.model.references import is_environment
from engine.model.task import MAX_LOG_BYTES
from engine.partitions import PartitionSet
from engine.secrets import resolve
from engine.worker.context import Context, Result
from engine.worker.log_tail import LogTail
from engine.worker.operators.report import read_outputs
from engine.worker.reading import needed, space_of

_TAIL = 64_000
"""Limit of the characters used of the end of the command's output."""
_HEADING = "--- stderr ---"
_GRACE_SECONDS = 2.0
_MAX_RANGES = 1000
"""Limit of existing input partitions or ranges in a variable."""
INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
    | {"PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
"""Variables of the worker that commands inherit, besides those that start with ``LC_``."""


class Shell:
    """Run ``config.command``: a list of arguments, or a string for ``/bin/sh -c``."""

    async def run(self, context: Context) -> Result:
        """See `Operator`. Exit code 0 is success; JSON in the last line is the report."""
        # Files, because a background process that inherits a pipe would prolong the run.
        with TemporaryFile() as out, TemporaryFile() as error:
            with context.log.following(lambda: _log(out, error)):
                code = await _exit_code(context, out, error)
            if code != 0:
                raise TaskFailed(_failure(code, _tail(error)))
            return _result(_tail(out))


async def _exit_code(context: Context, out: BinaryIO, error: BinaryIO) -> int:
    # If canceled during the start, asyncio would kill the command but not its child processes.
    starting = asyncio.create_task(_start(context, out, error))
    try:
        process = await asyncio.shield(starting)
        return await process.wait()
    finally:
        await _kill_group(await starting)


async def _start(context: Context, out: BinaryIO, error: BinaryIO) -> Process:
    command = _command(context.lease.job)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdout=out,
            stderr=error,
            stdin=asyncio.subprocess.DEVNULL,
            env={**_inherited(), **_configured(context.lease.job), **environment(context)},
            start_new_session=True,
        )
    except (OSError, ValueError) as failure:
        raise InvalidInput(
            f"job {context.lease.job.name!r}: {command[0]!r} cannot be started ({failure}): "
            "install it where the worker runs, or correct config.command"
        ) from failure


def _inherited() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith("LC_")
    }


def _configured(job: Job) -> dict[str, str]:
    variables = job.config.get("env", {})
    if not is_environment(variables):
        raise InvalidInput(
            f"job {job.name!r}: config.env must map names of variables to strings, and no name may "
            "start with KNOCKON_"
        )
    resolved: dict[str, str] = resolve(variables)
    return resolved


def _command(job: Job) -> Sequence[str]:
    command = job.config.get("command")
    if isinstance(command, str) and command.strip():
        return ["/bin/sh", "-c", command]
    if isinstance(command, list) and command and all(isinstance(arg, str) for arg in command):
        return command
    raise InvalidInput(
        f"job {job.name!r}: config.command must be a string or a list of strings, and not empty"
    )


def environment(context: Context) -> Mapping[str, str]:
    """Return the environment variables that describe the task; lists and mappings are JSON."""
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
        "OPENLINEAGE_PARENT_ID": context.parent_run,
        "OPENLINEAGE_ROOT_PARENT_ID": context.parent_run,
    }


def _input(context: Context, alias: str) -> Mapping[str, object]:
    dataset = context.inputs[alias]
    return {
        "id": str(dataset.id),
        "dataset": dataset.name,
        "table": context.table(alias),
        "location": dataset.location,
        "partitions": _ranges(context, alias),
    }


def _ranges(context: Context, alias: str) -> list[str]:
    """Return the partitions of an input to read; too many existing ones as the mapping's ranges.

    The size of a process's environment is limited.
    """
    texts = _texts(context.needs(alias, partition) for partition in context.partitions)
    if len(texts) <= _MAX_RANGES:
        return texts
    space = space_of(context.lease.outputs[0].partitioning)
    built = map(space.parse, context.partitions)
    return _texts(needed(context.lease, alias, target) for target in built)


def _texts(sets: Iterable[PartitionSet]) -> list[str]:
    return sorted({text for partitions in sets for text in partitions.space.texts(partitions)})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _failure(code: int, errors: str) -> str:
    """Return the message of a failed command: the last line of its errors, then all of them."""
    *earlier, last = errors.splitlines() or [""]
    message = f"the command ended with code {code}: {last}"
    return f"{message}\n{errors}" if earlier else message


def _tail(output: BinaryIO) -> str:
    return LogTail.of_file(output).end()[-_TAIL:].strip()


def _log(output: BinaryIO, errors: BinaryIO) -> str:
    """Return the log of a command: its output, then its errors."""
    out, error = LogTail.of_file(output), LogTail.of_file(errors)
    if not (out.end() and error.end()):
        return out.text() + error.text()
    half = MAX_LOG_BYTES // 2 - len(_HEADING)
    return f"{out.text(half).rstrip()}\n{_HEADING}\n{error.text(half)}"


async def _kill_group(process: Process) -> None:
    """End all processes that the command has started."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)


def _result(out: str) -> Result:
    lines = out.splitlines()
    if not lines or not lines[-1].startswith("{"):
        return Result()
    with suppress(msgspec.DecodeError):
        return read_outputs(msgspec.json.decode(lines[-1]))
    return Result()
