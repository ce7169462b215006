"""Tasks of workers without a connection to the database."""

from typing import Annotated
from uuid import UUID

import msgspec
from pydantic import ConfigDict, Field
from starlette.responses import Response

from engine.http.bodies import Body, Flag, Name, Text
from engine.http.call import Call
from engine.http.claims import Claims
from engine.http.resource import Resource
from engine.model.event import MAX_LISTED
from engine.model.task import Output
from engine.service.commands.worker_tasks import (
    LEASE_SECONDS,
    MOST_TASKS,
    claim_tasks,
    complete_task,
    extend_task,
    fail_task,
)
from engine.service.responses import Claimed, Reported

worker_tasks = Resource("/tasks")
_LONGEST_WAIT = 30
_MOST_COLUMNS = 2_000
_MOST_CURSORS = 1_000
_Count = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
_Log = Annotated[str, Field(max_length=1_000_000, description="The stored log is its end.")]
_Columns = Annotated[dict[Text, Name], Field(max_length=_MOST_COLUMNS)]


class Wanted(Body):
    """Tasks to claim; ``wait`` are the seconds to wait for one if none is queued."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"worker": "trainer-1", "jobs": ["train"], "wait": 0}]}
    )

    worker: Text
    runtimes: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_LISTED)] = (
        "external",
    )
    jobs: Annotated[tuple[Text, ...], Field(max_length=MAX_LISTED)] = ()
    operators: Annotated[tuple[Text, ...], Field(max_length=MAX_LISTED)] = ()
    limit: Annotated[int, Field(strict=True, ge=1, le=MOST_TASKS)] = 1
    lease_seconds: Annotated[int, Field(strict=True, ge=LEASE_SECONDS[0], le=LEASE_SECONDS[1])] = 30
    wait: Annotated[float, Field(strict=True, ge=0, le=_LONGEST_WAIT)] = 0


class RunningLog(Body):
    """The output of the run so far, which replaces the output sent before."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"log": "epoch 3 of 10"}]})

    log: _Log | None = None


class WrittenPartition(Body):
    """A written partition, with what is known of its content."""

    dataset: Text
    partition: Text
    fingerprint: Name | None = None
    row_count: _Count | None = None
    bytes: _Count | None = None
    location: Annotated[str, Field(max_length=2_000)] | None = None
    schema_hash: Name | None = None
    column_fingerprints: _Columns | None = None
    changed: Flag | None = None
    changed_columns: Annotated[list[Text], Field(max_length=_MOST_COLUMNS)] | None = None
    rows_only_added: Flag = False

    def output(self) -> Output:
        """Return the partition as an output of the service."""
        return msgspec.convert(self.model_dump(), Output)


class Success(Body):
    """The result of a run; a partition that is not listed counts as written and changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "outputs": [
                        {"dataset": "model", "partition": "2013-02-13", "fingerprint": "9f86d0"}
                    ],
                    "log": "trained on 842 rows",
                }
            ]
        }
    )

    outputs: Annotated[tuple[WrittenPartition, ...], Field(max_length=MAX_LISTED)] = ()
    cursors: Annotated[dict[Text, Name] | None, Field(max_length=_MOST_CURSORS)] = None
    log: _Log = ""


class Failure(Body):
    """The error of a run; without ``retryable``, the task is not repeated."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"error": "out of memory", "retryable": True}]}
    )

    error: Annotated[str, Field(min_length=1, max_length=10_000)]
    retryable: Flag = True
    log: _Log = ""


@worker_tasks.post("/claim", claim_tasks, returns=Claimed)
async def claim(call: Call, body: Wanted) -> Response:
    """Claim queued tasks, each with a token; wait for one if none is queued."""
    claims: Claims = call.request.app.state.claims
    wanted = body.model_dump(exclude={"wait"})
    return call.json(Claimed(await claims.claim(call, wanted, body.wait)))


@worker_tasks.post("/{id}/heartbeat", extend_task)
async def extend(call: Call, id: UUID, body: RunningLog | None = None) -> Response:  # noqa: A002
    """Extend the lease of a claimed task, and store the output so far."""
    return await call.answer(extend_task, None if body is None else body.log)


@worker_tasks.post("/{id}/complete", complete_task, returns=Reported)
async def succeed(call: Call, id: UUID, body: Success) -> Response:  # noqa: A002
    """Record the success of a claimed task, with its outputs."""
    outputs = [written.output() for written in body.outputs]
    await call.run(complete_task, outputs, cursors=body.cursors, log=body.log)
    return call.json(Reported(id))


@worker_tasks.post("/{id}/fail", fail_task, returns=Reported)
async def give_up(call: Call, id: UUID, body: Failure) -> Response:  # noqa: A002
    """Record the failure of an attempt at a claimed task."""
    await call.run(fail_task, body.error, retryable=body.retryable, log=body.log)
    return call.json(Reported(id))
