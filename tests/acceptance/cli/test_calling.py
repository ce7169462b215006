"""Calls of commands: help, positions of options, exit codes, and errors on stderr."""

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
def test_invalid_arguments_exit_with_2(args: list[str]) -> None:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr != ""


def test_a_misspelled_command_gets_a_suggestion(knockon: Knockon) -> None:
    result = knockon("stauts", code=2)
    assert result.out == ""
    assert "Did you mean 'status'" in result.err


def test_global_options_precede_or_follow_the_command(knockon: Knockon) -> None:
    assert knockon("--json", "status").json == knockon("status", "--json").json


def test_each_bad_setting_is_named_on_one_line(knockon: Knockon) -> None:
    bad = {
        "KNOCKON_POLL_SECONDS": "abc",
        "KNOCKON_CONCURRENCY": "0",
        "KNOCKON_LOG_FORMAT": "xml",
    }
    result = Knockon(knockon.env | bad)("status", code=1)
    assert result.out == ""
    assert sorted(result.err.removeprefix("error: ").splitlines()) == [
        "KNOCKON_CONCURRENCY should be greater than or equal to 1, not '0': correct the variable, "
        "or unset it for the default 2",
        "KNOCKON_LOG_FORMAT should be 'console' or 'json', not 'xml': correct the variable, or "
        "unset it for the default 'console'",
        "KNOCKON_POLL_SECONDS should be a valid number, not 'abc': correct the variable, or "
        "unset it for the default 1.0",
    ]


def test_an_unavailable_database_exits_with_1_and_one_line(knockon: Knockon) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    result = knockon("status", "--database-url", url, code=1)
    assert result.out == ""
    assert result.err.startswith("error: the database nobody@127.0.0.1:1/none cannot be reached")


def test_an_unknown_org_exits_with_1(knockon: Knockon) -> None:
    assert "there is no org 'acme'" in knockon("status", "--org", "acme", code=1).err
