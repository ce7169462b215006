"""Options of commands that wait: `--timeout` belongs to `--wait`, in every command."""

from typing import Any

import pytest

from engine.cli.app import COMMANDS, load_command
from engine.errors import InvalidInput

WAITING = sorted(
    name
    for name in COMMANDS
    if "--wait" in {option for each in load_command(name).params for option in each.opts}
)


def parsed(name: str, *options: str) -> dict[str, Any]:
    """Parse a call of a command with all of its arguments, without running the command."""
    command = load_command(name)
    required = [each for each in command.params if each.param_type_name == "argument"]
    context = command.make_context(name, [*("x" for _ in required), *options])
    return dict(context.params)


def test_waiting_commands_are_found() -> None:
    assert {"approve", "apply", "backfill", "deploy", "invalidate", "run"} <= {*WAITING}


@pytest.mark.parametrize("name", WAITING)
def test_a_timeout_requires_a_wait(name: str) -> None:
    for options in (("--wait", "--timeout", "3"), ("--timeout", "3", "--wait")):
        assert parsed(name, *options)["timeout"] == 3
    assert parsed(name)["timeout"] is None
    with pytest.raises(InvalidInput, match="--timeout limits a wait: add --wait"):
        parsed(name, "--timeout", "3")
