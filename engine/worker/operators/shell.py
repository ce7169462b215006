"""The shell operator: a command in a process group of its own."""

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import BinaryIO

import msgspec

from engine.errors import InvalidInput, TaskFailed
from engine.model.job import Job
from engine.model.references import is_environment
from engine.secrets import longest_secret, redacted, resolve
from engine.worker.context import Context, Result
from engine.worker.operators.report import read_outputs

_TAIL = 64_000
"""How many of the last bytes of what the command prints are looked at."""
_GRACE_SECONDS = 2.0
INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
    | {"PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
"""Variables of the worker that commands inherit, with all that begin with ``LC_``."""


class Shell:
    """Runs ``config.command``: a list of arguments, or a text for ``/bin/sh -c``."""

    async def run(self, context: Context) -> Result:
        """See `Operator`. Exit code 0 is success; a last line of JSON says what was written."""
        # Files, not pipes: whoever inherits a pipe and lives on would keep the run from ending.
        with TemporaryFile() as out, TemporaryFile() as error:
            code = await _exit_code(context, out, error)
            if code != 0:
                raise TaskFailed(f"the command ended with code {code}: {_tail(error)}")
            return _result(_tail(out))


async def _exit_code(context: Context, out: BinaryIO, error: BinaryIO) -> int:
    # Cancelled while it starts, asyncio would kill the command alone and not what it has started.
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
            env={**_inherited(), **_given(context.lease.job), **environment(context)},
            start_new_session=True,
        )
    except (OSError, ValueError) as failure:
        raise InvalidInput(
            f"job {context.lease.job.name!r}: {command[0]!r} cannot be started ({failure}): "
            "install it where the worker runs, or mend config.command"
        ) from failure


def _inherited() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith("LC_")
    }


def _given(job: Job) -> dict[str, str]:
    given = job.config.get("env", {})
    if not is_environment(given):
        raise InvalidInput(
            f"job {job.name!r}: config.env must be a mapping from names of variables to texts, and "
            "no name may begin with KNOCKON_"
        )
    resolved: dict[str, str] = resolve(given)
    return resolved


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
        "OPENLINEAGE_PARENT_ID": context.parent_run,
        "OPENLINEAGE_ROOT_PARENT_ID": context.parent_run,
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


def _tail(file: BinaryIO) -> str:
    """The end of an output, without secrets, and without the end of one that is cut in two."""
    spare = longest_secret()
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _TAIL - 4 * spare))
    text = redacted(file.read().decode(errors="replace"))
    return text[spare if start else 0 :][-_TAIL:].strip()


async def _kill_group(process: Process) -> None:
    """Nothing that the command has started outlives its run."""
    for each in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, each)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)


def _result(out: str) -> Result:
    lines = out.splitlines()
    if not lines or not lines[-1].startswith("{"):
        return Result()
    with suppress(msgspec.DecodeError):
        return read_outputs(msgspec.json.decode(lines[-1]))
    return Result()
