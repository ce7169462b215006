"""Jobs, and runs by hand."""

from typing import Annotated

from fastapi import Query
from pydantic import ConfigDict
from starlette.responses import Response

from engine.http.bodies import Body, Text, Texts
from engine.http.call import Call
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.service.commands.backfills import backfill, propose_backfill
from engine.service.commands.jobs import run
from engine.service.queries.jobs import JobRow
from engine.service.queries.jobs import jobs as all_jobs

jobs = Resource("/jobs")
backfills = Resource("/backfills")
OfDag = Annotated[str | None, Query(description="Name of a DAG; default: all DAGs.")]


class Run(Body):
    """Partitions of a job's outputs to recompute; without ``partitions`` all of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"partitions": ["2013-02-13"]}]})

    partitions: Texts | None = None


class Backfill(Body):
    """Partitions of a dataset, or of a job's first output, to build."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"target": "daily_sales", "partitions": ["2013-01-01..2013-12-31"]}]
        }
    )

    target: Text
    partitions: Texts


@jobs.get("", all_jobs, returns=Page[JobRow])
async def list_jobs(call: Call, paging: PagingOf, dag: OfDag = None) -> Response:
    """List the jobs, each after the jobs upstream, with their unfinished tasks."""
    return call.json(paging.part_of(await call.run(all_jobs, dag), _full_name))


@jobs.post("/{job}/run", run)
async def run_job(call: Call, job: str, body: Run | None = None) -> Response:
    """Recompute all or some partitions of a job's outputs."""
    partitions = None if body is None or body.partitions is None else tuple(body.partitions)
    return await call.costly().answer(run, job, partitions)


@backfills.post("", backfill)
async def build(call: Call, body: Backfill) -> Response:
    """Build partitions, whether they exist or not."""
    return await call.costly().answer(backfill, body.target, body.partitions)


@backfills.post("/propose", propose_backfill)
async def propose(call: Call, body: Backfill) -> Response:
    """Plan a backfill without effect, and store the plan."""
    return await call.costly().answer(propose_backfill, body.target, body.partitions)


def _full_name(job: JobRow) -> str:
    return f"{job.dag}.{job.name}"
