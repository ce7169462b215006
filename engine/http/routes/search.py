"""Search in the org."""

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from engine.http.call import Call
from engine.http.resource import Resource
from engine.service.queries.search import LONGEST_SEARCH, MOST_FOUND, SearchKind, search

searches = Resource("/search")
_Text = Annotated[
    str,
    Query(
        min_length=1,
        max_length=LONGEST_SEARCH,
        description="Part of a name; at least 8 of the first or last digits of an id.",
    ),
]
_Kinds = Annotated[
    list[SearchKind] | None, Query(description="Kind of results; repeatable; default: all.")
]
_Most = Annotated[int, Query(ge=1, le=MOST_FOUND, description="Most results.")]


@searches.get("", search)
async def search_org(call: Call, q: _Text, kind: _Kinds = None, limit: _Most = 20) -> Response:
    """Search for datasets, jobs, columns and DAGs by name, and for work by id."""
    return await call.answer(search, q, kind or (), limit)
