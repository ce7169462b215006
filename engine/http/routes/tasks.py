"""Tasks."""

from operator import attrgetter
from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import ConfigDict, Field
from starlette.responses import Response

from engine.http.bodies import Chosen, Id, Text
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.model.event import MAX_TEXT
from engine.model.states import UNFINISHED_STATUSES, TaskStatus
from engine.service.commands.tasks import cancel, cancel_all, retry, retry_all
from engine.service.queries.attempts import task_log
from engine.service.queries.explain_task import explain_task
from engine.service.queries.tasks import TaskRow
from engine.service.queries.tasks import tasks as all_tasks
from engine.service.responses import Canceled

tasks = Resource("/tasks")
_Name = Annotated[str | None, Query(max_length=MAX_TEXT)]


class Failed(Chosen):
    """Tasks to retry, by ids, of one job or of all."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"job": "shop.daily_sales", "statuses": ["failed"]}]}
    )

    job: Text | None = None
    statuses: Annotated[tuple[TaskStatus, ...], Field(min_length=1)] = (TaskStatus.FAILED,)


class Unfinished(Chosen):
    """Tasks to cancel, by ids, of one job or of all."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"job": "shop.daily_sales", "statuses": ["queued"]}]}
    )

    job: Text | None = None
    statuses: Annotated[tuple[TaskStatus, ...], Field(min_length=1)] = UNFINISHED_STATUSES


@tasks.get("", all_tasks, returns=Page[TaskRow])
async def list_tasks(
    call: Call,
    paging: PagingOf,
    status: Annotated[list[TaskStatus] | None, Query(description="Status; repeatable.")] = None,
    job: _Name = None,
    partition: _Name = None,
) -> Response:
    """List tasks, newest first."""
    rows = await call.run(
        all_tasks,
        statuses=status,
        job=job,
        partition=partition,
        limit=paging.rows,
        before=paging.before,
    )
    return call.json(paging.of(rows, attrgetter("id")))


@tasks.post("/retry", retry_all)
async def retry_many(call: Call, body: Failed) -> Response:
    """Retry tasks by ids, all or none, or all failed or canceled ones of the org or of one job."""
    if body.ids is not None:
        return await call.answer(retry, body.ids)
    return await call.answer(retry_all, statuses=body.statuses, job=body.job)


@tasks.post("/cancel", cancel_all, returns=Canceled)
async def cancel_many(call: Call, body: Unfinished) -> Response:
    """Cancel tasks by ids, all or none, or all in some statuses, of the org or of one job."""
    if body.ids is not None:
        return call.json(_canceled(await call.run(cancel, body.ids)))
    return call.json(Canceled(await call.run(cancel_all, statuses=body.statuses, job=body.job)))


@tasks.get("/{id}", explain_task)
async def show(call: Call, id: Id) -> Response:  # noqa: A002
    """Explain a task: causes, tasks upstream, inputs and attempts."""
    return await call.answer(explain_task, id)


@tasks.get("/{id}/attempts", task_log)
async def show_attempts(
    call: Call,
    id: Id,  # noqa: A002
    number: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Response:
    """Show the attempts at a task, with the ends of their logs."""
    return await call.answer(task_log, id, number)


@tasks.post("/{id}/retry", retry)
async def retry_one(call: Call, id: Id) -> Response:  # noqa: A002
    """Retry a failed or canceled task."""
    return await call.answer(retry, [id])


@tasks.post("/{id}/cancel", cancel, returns=Canceled)
async def cancel_one(call: Call, id: Id) -> Response:  # noqa: A002
    """Cancel a task; dependents continue as if the outputs were unchanged."""
    return call.json(_canceled(await call.run(cancel, [id])))


def _canceled(ids: list[UUID]) -> Canceled:
    return Canceled(len(ids), ids)
