"""Commands and paths that the pages mention, checked against the code."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from engine.cli.app import COMMANDS, app, load_command

_BLOCK = re.compile(r"^( *)```(?:sh|console)?\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^(?: {4}|\t| {7})(knockon .*)$", re.MULTILINE)
_INLINE = re.compile(r"`(knockon [a-z][^`]*)`")
_PATH = re.compile(r"`((?:engine|consumers|knockon|sql|tests|examples)/[\w./-]+)`")
_NAME = re.compile(r"[a-z][a-z-]*")


def commands(page: Path) -> list[str]:
    """Calls of `knockon` in the code of a page, without comments and shell syntax around them."""
    text = page.read_text("utf-8")
    blocks = [line.strip() for _, block in _BLOCK.findall(text) for line in block.splitlines()]
    lines = [line for line in blocks if line.startswith("knockon ")]
    return [*lines, *_INDENTED.findall(text), *_INLINE.findall(text)]


def paths(page: Path) -> list[str]:
    """Paths of the repository that a page mentions."""
    return _PATH.findall(page.read_text("utf-8"))


def unknown_parts(call: str) -> Iterator[str]:
    """Subcommands and options in a call that the command line does not have."""
    words = shlex.split(re.split(r"[|;<>]| &&", call.replace("…", ""))[0], comments=True)[1:]
    common = typer.main.get_command(app)
    command, words = _command(words)
    if command is None:
        yield from words[:1]
        return
    options = {name for each in (*command.params, *common.params) for name in _names(each)}
    options |= {"--help", "-h"}
    for word in words:
        name = word.partition("=")[0]
        if re.fullmatch(r"--?[a-z][a-z-]*", name) and name not in options:
            yield name


def _command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words call, and its arguments; None for an unknown one."""
    while words and words[0].startswith("-"):
        words = words[1:] if words[0] in {"--json", "--help", "--version"} else words[2:]
    if not words or words[0] not in COMMANDS:
        return None, words
    command, rest = load_command(words[0]), words[1:]
    children = getattr(command, "commands", {})
    if rest and rest[0] in children:
        return children[rest[0]], rest[1:]
    if words[0] == "psql":
        return command, []
    return command, rest


def _names(param: Any) -> list[str]:
    return [*param.opts, *param.secondary_opts]
