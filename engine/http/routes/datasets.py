"""Datasets, their partitions and their lineage."""

from operator import attrgetter
from typing import Annotated

from fastapi import Query
from pydantic import ConfigDict, Field
from starlette.responses import Response

from engine.http.bodies import Body, Text
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.http.routes.jobs import OfDag
from engine.model.event import MAX_TEXT
from engine.service.commands.audit import mend
from engine.service.queries.audit import audit
from engine.service.queries.datasets import DatasetRow
from engine.service.queries.datasets import datasets as all_datasets
from engine.service.queries.explain_partition import explain_partition
from engine.service.queries.lineage import Direction, LineageNode, lineage_tree
from engine.service.queries.neighbourhood import MOST_DEPTH, MOST_NODES, neighbourhood
from engine.service.queries.partition_states import StateRow, partition_states
from engine.service.queries.stale import StaleRow
from engine.service.queries.stale import stale as stale_partitions

datasets = Resource("/datasets")
lineage = Resource("/lineage")
stale = Resource("/stale")
audits = Resource("/audit")
_OfDataset = Annotated[str | None, Query(description="Name of a dataset; default: all datasets.")]
_Direction = Annotated[Direction, Query(description="Downstream or upstream.")]
_Most = Annotated[int, Query(ge=1, le=1_000, description="Most partitions to list.")]
_Depth = Annotated[int, Query(ge=0, le=MOST_DEPTH, description="Jobs to cross.")]
_Nodes = Annotated[int, Query(ge=1, le=MOST_NODES, description="Most datasets and jobs.")]
_WithColumns = Annotated[bool, Query(description="Show the columns of each edge.")]
_Column = Annotated[
    str | None, Query(max_length=MAX_TEXT, description="Column of the dataset, to show its path.")
]
_Key = Annotated[str, Query(max_length=MAX_TEXT, description="Key of a partition.")]


class Scope(Body):
    """The dataset to repair, without it all; ``limit`` is for the listed partitions."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dataset": "daily_sales"}]})

    dataset: Text | None = None
    limit: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 100


@datasets.get("", all_datasets, returns=Page[DatasetRow])
async def list_datasets(call: Call, paging: PagingOf, dag: OfDag = None) -> Response:
    """List the datasets, each after the datasets upstream."""
    return call.json(paging.part_of(await call.run(all_datasets, dag), attrgetter("name")))


@datasets.get("/{dataset}/partitions", partition_states, returns=Page[StateRow])
async def list_partitions(call: Call, dataset: str) -> Response:
    """List the states of a dataset's partitions, each with keys and ranges of keys."""
    return await call.costly(Page).answer(partition_states, dataset)


@datasets.get("/{dataset}/explanation", explain_partition)
async def explain(call: Call, dataset: str, partition: _Key) -> Response:
    """Explain the state of one partition."""
    return await call.answer(explain_partition, dataset, partition)


@datasets.get(
    "/{dataset}/lineage", lineage_tree, name="lineage_of_dataset", returns=Page[LineageNode]
)
async def show_lineage_of(call: Call, dataset: str, direction: _Direction = "down") -> Response:
    """Show the lineage of a dataset as a tree, with the columns of each edge."""
    return await call.costly(Page).answer(lineage_tree, dataset, direction)


@datasets.get("/{dataset}/neighbourhood", neighbourhood)
async def show_neighbourhood(
    call: Call,
    dataset: str,
    upstream: _Depth = 2,
    downstream: _Depth = 2,
    limit: _Nodes = MOST_NODES,
    columns: _WithColumns = False,
    column: _Column = None,
) -> Response:
    """Show the datasets and jobs around a dataset, with their states, up to the limit."""
    return await call.answer(
        neighbourhood,
        dataset,
        upstream=upstream,
        downstream=downstream,
        limit=limit,
        with_columns=columns,
        column=column,
    )


@lineage.get("", lineage_tree, returns=Page[LineageNode])
async def show_lineage(call: Call, direction: _Direction = "down") -> Response:
    """Show the trees of all sources, or upstream of all unread datasets."""
    return await call.costly(Page).answer(lineage_tree, None, direction)


@stale.get("", stale_partitions, returns=Page[StaleRow])
async def list_stale(call: Call, dataset: _OfDataset = None, limit: _Most = 50) -> Response:
    """List stale partitions, root causes first, up to the limit."""
    return await call.costly(Page).answer(stale_partitions, dataset, limit)


@audits.get("", audit)
async def audit_partitions(call: Call, dataset: _OfDataset = None, limit: _Most = 100) -> Response:
    """Check every partition for lost work."""
    return await call.costly().answer(audit, dataset, limit=limit)


@audits.post("/mend", mend)
async def mend_partitions(call: Call, body: Scope | None = None) -> Response:
    """Check every partition, and invalidate those that are lost."""
    scope = body or Scope()
    return await call.costly().answer(mend, scope.dataset, limit=scope.limit)
