"""How commands are called: help, options in any place, exit codes, and where complaints go."""

import pytest
from typer.testing import CliRunner

from engine.cli.app import COMMANDS, app
from tests.acceptance.cli.conftest import Knockon


def test_help_lists_every_command(knockon: Knockon) -> None:
    text = knockon("--help").out
    assert [name for name in COMMANDS if f" {name} " not in text] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert COMMANDS[name][1] != ""
    assert "--json" in result.stdout


def test_the_version(knockon: Knockon) -> None:
    assert knockon("--version").out.startswith("knockon 0.")


@pytest.mark.parametrize(
    "args",
    [
        ["status", "--nonsense"],
        ["deploy"],
        ["invalidate", "a", "--reason", "whim"],
        ["tasks", "--limit", "0"],
        ["--log-level", "loud", "status"],
    ],
)
def test_a_wrong_call_is_2(args: list[str]) -> None:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr != ""


def test_a_near_miss_is_put_right(knockon: Knockon) -> None:
    result = knockon("stauts", code=2)
    assert result.out == ""
    assert "Did you mean 'status'" in result.err


def test_options_of_all_stand_before_or_after_the_command(knockon: Knockon) -> None:
    assert knockon("--json", "status").json == knockon("status", "--json").json


def test_a_database_that_is_away_is_1_and_said_in_a_line(knockon: Knockon) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    result = knockon("status", "--database-url", url, code=1)
    assert result.out == ""
    assert result.err.startswith("error: the database nobody@127.0.0.1:1/none cannot be reached")


def test_an_unknown_org_is_1(knockon: Knockon) -> None:
    assert "there is no org 'acme'" in knockon("status", "--org", "acme", code=1).err
