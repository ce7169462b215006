"""The history of deploys, and the files of versions, whose deploy is a rollback."""

import json
from pathlib import Path

import pytest

from engine.cli.runtime.dag_files import read_dag
from engine.errors import InvalidInput, UnknownName
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag
from engine.service.caller import Caller
from engine.service.commands.deploys import deploy
from engine.service.queries.history import PastDeploy, VersionFile, file_of_version, history
from engine.store.database import Database
from tests.support.worlds import WEEKLY, World, job, source

FIRST = """\
dag: shop
jobs:
  # The orders of the shop.
  - name: src
    activation: source
    source: {kind: manual}
    outputs: [{dataset: orders}]
  - name: sum
    operator: shell
    config: {command: "echo 1"}
    inputs: [orders]
    outputs: [{dataset: sums}]
"""
SECOND = FIRST.replace("echo 1", "echo 2")


@pytest.fixture
async def world(database: Database) -> World:
    return await World.made(database, source("a"), job("b", "a"))


async def deployed(world: World, text: str, by: str | None = "ann") -> None:
    caller = Caller.local(world.caller.org, by)
    await deploy(caller, world.service, [parse_dag(text, where="shop.yaml")])


async def past(world: World, dag: str | None = "shop") -> list[PastDeploy]:
    return await history(world.caller, world.service, dag)


async def file_of(world: World, version: int, dag: str = "shop") -> VersionFile:
    return await file_of_version(world.caller, world.service, dag, version)


async def test_deploys_are_listed_with_person_and_changes(world: World) -> None:
    await deployed(world, FIRST)
    await deployed(world, SECOND, by="ben")
    second, first = await past(world)
    assert (first.version, first.by, first.is_current) == (1, "ann", False)
    assert (second.version, second.by, second.is_current) == (2, "ben", True)
    assert first.changes is not None
    assert first.changes.added == ("src", "sum")
    assert second.changes is not None
    assert second.changes.changed == {"sum": ("config",)}
    assert set(second.changes.regenerated) == {"sums"}
    assert [row.dag for row in await past(world, None)] == ["shop", "shop", "w"]


async def test_changes_include_datasets_rebuilt_because_of_another_dag(world: World) -> None:
    def reader(**more: str) -> DagFile:
        jobs = [job("c", "b")]
        return parse_dag(json.dumps({"dag": "r", "jobs": jobs} | more), where="r.yaml")

    await deploy(world.caller, world.service, [reader()])
    weekly = {"dag": "w", "jobs": [source("a"), job("b", "a", partitioning=WEEKLY)]}
    both = [parse_dag(json.dumps(weekly), where="w.yaml"), reader()]
    done = await deploy(world.caller, world.service, both)
    assert [list(each.diff.regenerated) for each in done.dags] == [["b"], ["c"]]
    (rebuilt, _) = await past(world, "r")
    assert rebuilt.changes is not None
    assert list(rebuilt.changes.regenerated) == ["c"]
    await deploy(world.caller, world.service, [reader(description="Reads b.")])
    assert (await past(world, "r"))[0].changed_keys == ("description",)


async def test_unchanged_content_is_no_deploy(world: World) -> None:
    await deployed(world, FIRST)
    await deployed(world, FIRST + "# the end\n")
    assert len(await past(world)) == 1


async def test_the_file_is_printed_as_written_and_its_deploy_is_a_rollback(world: World) -> None:
    await deployed(world, FIRST)
    await deployed(world, SECOND)
    file = await file_of(world, 1)
    assert (file.file, file.is_as_written) == (FIRST, True)
    await deployed(world, file.file)
    again, second, _ = await past(world)
    assert (again.version, again.is_current) == (1, True)
    assert (second.version, second.is_current) == (2, False)


async def test_a_version_of_older_code_is_written_from_its_content(world: World) -> None:
    await deployed(world, FIRST)
    await deployed(world, SECOND)
    await world.rows("UPDATE dag_versions SET file = NULL RETURNING id")
    file = await file_of(world, 1)
    assert not file.is_as_written
    await deployed(world, file.file)
    assert (await past(world))[0].version == 1


async def test_a_file_with_sql_files_is_printed_with_their_sql(
    world: World, tmp_path: Path
) -> None:
    path, sql = tmp_path / "shop.yaml", tmp_path / "sum.sql"
    path.write_text(
        FIRST.replace("operator: shell", "operator: sql").replace(
            '{command: "echo 1"}', "{sql_file: sum.sql}"
        )
    )
    sql.write_text("SELECT 1 AS n\nFROM orders\n")
    await deploy(world.caller, world.service, [read_dag(path)])
    sql.write_text("SELECT 2 AS n\nFROM orders\n")
    await deploy(world.caller, world.service, [read_dag(path)])
    file = await file_of(world, 1)
    assert "sql: |\n" in file.file
    await deployed(world, file.file)
    assert [row.version for row in await past(world)] == [1, 2, 1]


@pytest.mark.parametrize(
    "comment",
    [
        "password: hunter2.hunter2",
        "was: psql postgresql://me:hunter2.hunter2@db/shop",
        "DB_PASSWORD=hunter2.hunter2",
        "curl --token hunter2.hunter2",
    ],
)
async def test_a_secret_in_a_comment_is_not_stored(world: World, comment: str) -> None:
    await deployed(world, FIRST + f"    # {comment}\n")
    file = await file_of(world, 1)
    assert "hunter2" not in file.file
    assert await world.rows("SELECT FROM dag_versions WHERE file LIKE '%%hunter2%%'") == []
    await deployed(world, SECOND)
    await deployed(world, file.file)
    assert (await past(world))[0].version == 1


async def test_a_reference_in_a_comment_is_no_secret(world: World) -> None:
    text = FIRST + "    # password: ${DB_PASSWORD}\n"
    await deployed(world, text)
    assert (await file_of(world, 1)).file == text


async def test_a_secret_stored_by_older_code_is_not_printed(world: World) -> None:
    await deployed(world, FIRST)
    await world.rows(
        "UPDATE dag_versions SET file = NULL, content = jsonb_set(content, '{file}', "
        "to_jsonb(replace(content ->> 'file', 'echo 1', 'PGPASSWORD=hunter2.hunter2 psql'))) "
        "WHERE dag_name = 'shop' RETURNING id"
    )
    with pytest.raises(InvalidInput, match="contains a secret") as raised:
        await file_of(world, 1)
    assert "hunter2" not in str(raised.value)


async def test_unknown_dags_and_versions_are_named(world: World) -> None:
    with pytest.raises(UnknownName, match="'shop' was never deployed"):
        await past(world)
    with pytest.raises(UnknownName, match="'shop' was never deployed"):
        await file_of(world, 1)
    with pytest.raises(UnknownName, match="newest is 1"):
        await file_of(world, 7, "w")


async def test_a_redeployed_reader_is_a_deploy_of_its_own(world: World) -> None:
    columns = ["id", "x"]
    await world.deploy(_with_columns(columns), dag="up")
    read = {"operator": "sql", "config": {"sql": "SELECT * FROM t"}}
    await world.deploy(job("r", "t", partitioning={}) | read, dag="down")
    text = json.dumps({"dag": "up", "jobs": [_with_columns([*columns, "y"])]})
    await deployed(world, text, by="ben")
    assert [(row.dag, row.by) for row in (await past(world, None))[:2]] == [
        ("down", "ben"),
        ("up", "ben"),
    ]


def _with_columns(columns: list[str]) -> dict[str, object]:
    given = source("t", {})
    given["outputs"][0]["columns"] = columns
    return given
