"""DAGs and their deploys."""

from operator import attrgetter
from typing import Annotated

from fastapi import Path, Query
from pydantic import ConfigDict, Field
from starlette.responses import Response

from engine.http.bodies import Body, Flag
from engine.http.call import Call
from engine.http.dag_files import deploy_files, preview_files
from engine.http.pages import Page, PagingOf
from engine.http.resource import Resource
from engine.service.commands.deploys import deploy
from engine.service.commands.undeploys import preview_undeploy_of, undeploy
from engine.service.keyset import NEWEST_NUMBER
from engine.service.queries.dags import DeployedDag
from engine.service.queries.dags import dags as deployed_dags
from engine.service.queries.history import PastDeploy, file_of_version, history

dags = Resource("/dags")
deploys = Resource("/deploys")
_DryRun = Annotated[bool, Query(description="Show the effect, and change nothing.")]
_Version = Annotated[int, Path(ge=1, le=NEWEST_NUMBER)]


class Files(Body):
    """Texts of DAG files, deployed together; their SQL is part of the text."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "files": [
                        "dag: shop\njobs:\n- name: src_orders\n  activation: source\n"
                        "  source: {kind: manual}\n  outputs:\n  - dataset: orders\n"
                        "    partitioning: {dt: {time: day, start: 2013-01-01}}\n"
                    ]
                }
            ]
        }
    )

    files: Annotated[list[str], Field(min_length=1, max_length=100)]


class Removal(Body):
    """Options of an undeploy; with ``drop_tables``, tables created by Knockon are dropped."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"drop_tables": False}]})

    drop_tables: Flag = False


@dags.get("", deployed_dags, returns=Page[DeployedDag])
async def list_dags(call: Call, paging: PagingOf) -> Response:
    """List the DAGs of the org in their current versions, by name."""
    return call.json(paging.part_of(await call.run(deployed_dags), attrgetter("name")))


@dags.get("/{dag}/deploys", history, name="history_of_dag", returns=Page[PastDeploy])
async def list_deploys_of(call: Call, dag: str, paging: PagingOf) -> Response:
    """List deploys and undeploys of a DAG, newest first."""
    rows = await call.run(history, dag, limit=paging.rows, before=paging.before_number)
    return call.json(paging.of(rows, attrgetter("id")))


@dags.get("/{dag}/versions/{version}/file", file_of_version)
async def show_file(call: Call, dag: str, version: _Version) -> Response:
    """Show the file of a version of a DAG; its deploy makes the version current again."""
    return await call.answer(file_of_version, dag, version)


@dags.post("/{dag}/undeploy", undeploy)
async def remove(
    call: Call, dag: str, body: Removal | None = None, dry_run: _DryRun = False
) -> Response:
    """Remove a DAG from the current versions, or show the effect of the removal."""
    operation = preview_undeploy_of if dry_run else undeploy
    drop_tables = body is not None and body.drop_tables
    return await call.costly().answer(operation, dag, drop_tables=drop_tables)


@deploys.get("", history, returns=Page[PastDeploy])
async def list_deploys(call: Call, paging: PagingOf) -> Response:
    """List deploys and undeploys of all DAGs, newest first."""
    rows = await call.run(history, limit=paging.rows, before=paging.before_number)
    return call.json(paging.of(rows, attrgetter("id")))


@deploys.post("", deploy)
async def deploy_dags(call: Call, body: Files, dry_run: _DryRun = False) -> Response:
    """Deploy DAG files together, or show the effect, for readers as well.

    A deploy beyond a limit is left pending approval.
    """
    return await call.costly().answer(preview_files if dry_run else deploy_files, body.files)
