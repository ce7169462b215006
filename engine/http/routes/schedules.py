"""Schedules of sources."""

from operator import attrgetter

from starlette.responses import Response

from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.service.queries.schedules import ScheduleRow
from engine.service.queries.schedules import schedules as all_schedules

schedules = Resource("/schedules")


@schedules.get("", all_schedules, returns=Page[ScheduleRow])
async def list_schedules(call: Call, paging: PagingOf) -> Response:
    """List the schedules of sources, the next to fire first, with the partitions that change."""
    return call.json(paging.part_of(await call.run(all_schedules), attrgetter("dataset")))
