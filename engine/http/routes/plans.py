"""Plans, and decisions on them."""

from http import HTTPStatus
from operator import attrgetter, itemgetter
from typing import Annotated

from fastapi import Query
from pydantic import ConfigDict
from starlette.responses import Response

from engine.http.bodies import Body, Change, Id, Ids
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.model.states import PlanState
from engine.service.commands.plans import Review, apply, approve, reject
from engine.service.commands.proposals import propose
from engine.service.queries.plans import PlanRow, plan
from engine.service.queries.plans import plans as all_plans

plans = Resource("/plans")


class Decided(Body):
    """The plans to decide on."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": ["01941f29-7c00-7000-8000-000000000000"]}]}
    )

    ids: Ids


@plans.get("", all_plans, returns=Page[PlanRow])
async def list_plans(
    call: Call,
    paging: PagingOf,
    state: Annotated[list[PlanState] | None, Query(description="State; repeatable.")] = None,
) -> Response:
    """List plans, newest first."""
    rows = await call.run(all_plans, states=state, limit=paging.rows, before=paging.before)
    return call.json(paging.of(rows, attrgetter("id")))


@plans.post("", propose, status=HTTPStatus.CREATED)
async def create(call: Call, body: Change) -> Response:
    """Plan a change without effect, and store the plan."""
    return await call.costly(status=HTTPStatus.CREATED).answer(propose, body.event())


@plans.post("/approve", approve, name="approve_plans", returns=Page[Review])
async def approve_many(call: Call, body: Decided) -> Response:
    """Run plans pending approval one by one, each planned again in the current state."""
    return await call.costly(Page).answer(approve, body.ids)


@plans.post("/reject", reject, name="reject_plans", returns=Page[Review])
async def reject_many(call: Call, body: Decided) -> Response:
    """Reject plans pending approval; the affected partitions stay stale."""
    return await call.answer_all(reject, body.ids)


@plans.get("/{id}", plan)
async def show(call: Call, id: Id) -> Response:  # noqa: A002
    """Show a plan: its steps, the pruned edges, and its invalidations."""
    return await call.answer(plan, id)


@plans.post("/{id}/apply", apply)
async def run(call: Call, id: Id) -> Response:  # noqa: A002
    """Run a proposed plan exactly as shown, or return the differences from a current plan."""
    return await call.costly().answer(apply, id)


@plans.post("/{id}/approve", approve, returns=Review)
async def approve_plan(call: Call, id: Id) -> Response:  # noqa: A002
    """Run a plan pending approval, planned again in the current state."""
    return await call.costly(itemgetter(0)).answer(approve, [id])


@plans.post("/{id}/reject", reject, returns=Review)
async def reject_plan(call: Call, id: Id) -> Response:  # noqa: A002
    """Reject a plan pending approval; the affected partitions stay stale."""
    (review,) = await call.run(reject, [id])
    return call.json(review)
