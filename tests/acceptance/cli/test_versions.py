"""Commands on the versions of a DAG: history, rollback, undeploy."""

from pathlib import Path

from tests.acceptance.cli.conftest import MINIMAL, Knockon


def test_a_printed_version_is_deployed_as_a_rollback(shop: Knockon, tmp_path: Path) -> None:
    path = tmp_path / "dag.yaml"
    text = MINIMAL.read_text().replace("sum(amount)", "max(amount)")
    path.write_text(text)
    assert text != MINIMAL.read_text()
    shop("deploy", path, "--by", "ben")
    rows = shop("history", "--json").json
    assert [(row["version"], row["is_current"]) for row in rows] == [(2, True), (1, False)]
    (current,) = shop("status", "--json").json["dags"]
    assert current["version"] == 2
    out = shop("history", rows[0]["dag"]).out
    assert rows[0]["version_id"][-8:] not in out
    assert "ben" in out
    assert "current" in out
    dag = rows[0]["dag"]
    assert shop("history", dag, "--version", 2).out == text
    shop("deploy", "-", stdin=shop("history", dag, "--version", 1).out)
    assert shop("history", dag, "--json").json[0]["version"] == 1
    assert "newest is 2" in shop("history", dag, "--version", 3, code=1).err
    assert "needs the name of a DAG" in shop("history", "--version", 3, code=1).err


def test_an_undeploy_is_previewed_and_confirmed(shop: Knockon) -> None:
    dag = shop("history", "--json").json[0]["dag"]
    assert "--yes does it" in shop("undeploy", dag).out
    assert shop("status", "--json").json["undeployed"] == []
    done = shop("undeploy", dag, "--yes", "--by", "ann", "--json").json
    assert (done["dag_name"], done["effects"]["version"]) == (dag, 1)
    assert "undeployed" in shop("history").out
    assert [row["by"] for row in shop("status", "--json").json["undeployed"]] == ["ann"]
    assert "no DAG" in shop("undeploy", dag, code=1).err
    assert "again, with the partitions" in shop("deploy", MINIMAL).out


def test_old_versions_are_counted_and_removed(shop: Knockon, tmp_path: Path) -> None:
    path = tmp_path / "dag.yaml"
    path.write_text(MINIMAL.read_text().replace("sum(amount)", "max(amount)"))
    shop("deploy", path)
    assert shop("sweep", "--json").json["rows"]["dag_versions"] == 0
    assert "would be removed: 1 DAG version" in shop("sweep", "--older-than", "0s").out
    assert "removed: 1 DAG version" in shop("sweep", "--older-than", "0s", "--yes").out
    assert [row["version"] for row in shop("history", "--json").json] == [2]
    assert "not a duration" in shop("sweep", "--older-than", "soon", code=1).err
