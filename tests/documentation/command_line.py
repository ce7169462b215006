"""The page of the command line, from the typer app."""

import inspect
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperGroup

from engine.cli.app import COMMANDS, app, load_command
from tests.documentation.markdown import GENERATED, code, table

_INTRODUCTION = """
# Command line

`knockon --help` and `knockon COMMAND --help` print the same information.

Output goes to stdout: tables and trees for people, a single JSON document with `--json`. Logs and
errors go to stderr. Control characters in keys, errors, names and payloads never reach the
terminal: tables and log lines show a symbol instead (`␛` for escape), and JSON escapes them. The
exit code is 0 on success, 1 on failure and 2 for invalid arguments. Ids may be shortened to the
last characters, as shown in tables.

## Options of every command

These options may stand before or after the name of the command.

"""


_CODE = re.compile(
    r"""(?<![\w-])--[a-z][a-z-]*(?: rewritten)? | \bKNOCKON_[A-Z_]+ | \$USER | \bdag_files\b
    | \bblast_radius\b | knockon\.<org> | \{"origin.*\}(?=;)""",
    re.VERBOSE,
)


def page() -> str:
    """The page of the command line."""
    root = typer.main.get_command(app)
    common = {name for each in load_command("status").params for name in each.opts}
    own = [each for each in root.params if not each.name.endswith("_completion")]
    parts = [GENERATED, _INTRODUCTION, _options(root, own)]
    panels = dict.fromkeys(panel for panel, _ in COMMANDS.values())
    for panel in panels:
        parts.append(f"\n## {panel}\n")
        for name, (own, _) in COMMANDS.items():
            if own == panel:
                parts += _command(f"knockon {name}", load_command(name), common, 3)
    return "".join(parts)


def _command(path: str, command: Any, common: set[str], level: int) -> Iterator[str]:
    own = [each for each in command.params if not common.intersection(each.opts)]
    yield f"\n{'#' * level} {path}\n\n{_prose(command.help)}\n"
    yield f"\n    {' '.join([path, *_usage(own), *_subcommand(command)])}\n"
    if own:
        yield "\n" + _options(command, own)
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from _command(f"{path} {name}", each, common, level + 1)


def _prose(text: str) -> str:
    """A docstring as Markdown, with commands, options and settings as code."""
    text = text.replace("\ngrants:", "\n\ngrants:")
    text = re.sub(r"'(knockon [^']+)'", r"`\1`", text)
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [_CODE.sub(r"`\g<0>`", part) for part in parts[::2]]
    return "".join(parts)


def _usage(params: list[Any]) -> Iterator[str]:
    for each in params:
        if each.param_type_name == "argument":
            name = _metavar(each) + ("…" if each.nargs == -1 else "")
            yield name if each.required or name.startswith("[") else f"[{name}]"
        elif each.required:
            yield f"{each.opts[0]} {_metavar(each)}"
    if any(each.param_type_name == "option" and not each.required for each in params):
        yield "[OPTIONS]"


def _subcommand(command: Any) -> list[str]:
    return ["[COMMAND]"] if isinstance(command, TyperGroup) else []


def _options(command: Any, params: list[Any]) -> str:
    annotations = inspect.signature(command.callback).parameters
    rows = [_row(each, annotations) for each in params]
    return table(["argument or option", "values", "default", "meaning"], rows)


def _row(param: Any, annotations: Any) -> list[str]:
    known = annotations.get(param.name)
    choices = ", ".join(map(code, _choices(known.annotation) if known else ()))
    return [_names(param), choices or _bounds(param), _default(param), _prose(param.help or "")]


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return code(_metavar(param))
    names = ", ".join(map(code, [*param.opts, *param.secondary_opts]))
    return names if param.is_flag else f"{names} {code(_metavar(param))}"


def _metavar(param: Any) -> str:
    if param.metavar:
        return str(param.metavar)
    return str(param.name).strip("_").upper()


def _choices(annotation: Any) -> list[str]:
    """Values of the enum or Literal within an annotation such as ``Annotated[State | None, …]``."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(each.value) for each in annotation]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for each in get_args(annotation) for choice in _choices(each)]


def _bounds(param: Any) -> str:
    """Bounds of a number, in the words of the page of settings."""
    bounds = (("from", getattr(param, "min", None)), ("to", getattr(param, "max", None)))
    return " ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)


def _default(param: Any) -> str:
    value = param.default
    if param.secondary_opts and value is not None:
        return code((param.opts if value else param.secondary_opts)[0])
    if value is None or value is False or callable(value):
        return "required" if param.required else ""
    return code(str(getattr(value, "value", value)))
