"""The options that every command has, before or after its name: `knockon --json status --org a`."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Annotated, Any, Literal

import typer

_PANEL = "Options of every command"


def _option(name: str, help_: str, **more: Any) -> Any:
    return typer.Option(name, help=help_, rich_help_panel=_PANEL, show_default=False, **more)


@dataclass(frozen=True, slots=True)
class Call:
    """What was said besides the command itself; None: what the environment says."""

    org: Annotated[str | None, _option("--org", "Org of the command.")] = None
    database_url: Annotated[
        str | None,
        _option("--database-url", "PostgreSQL address; if unset, an embedded server is used."),
    ] = None
    kafka: Annotated[
        str | None,
        _option("--kafka", "Kafka brokers, host:port,…; if unset, an embedded broker is used."),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        _option("--log-level", "Least severe level logged."),
    ] = None
    as_json: Annotated[bool, _option("--json", "Print one JSON document.")] = False


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all; its first parameter is the `Call` that they make.

    A group of commands acts itself only where none of them is called.
    """

    @wraps(function)
    def called(context: typer.Context, **given: Any) -> None:
        said = {each.name: given.pop(each.name) for each in fields(Call)}
        context.obj = _merged(context.obj or Call(), said)
        if context.invoked_subcommand is None:
            function(context.obj, **given)

    called.__signature__ = _with_options(inspect.signature(function))  # type: ignore[attr-defined]
    called.__annotations__ = {
        each.name: each.annotation
        for each in called.__signature__.parameters.values()  # type: ignore[attr-defined]
    }
    return called


def _merged(call: Call, said: dict[str, Any]) -> Call:
    """What is said later, nearer to the command, wins."""
    return replace(call, **{name: value for name, value in said.items() if value})


def _with_options(signature: inspect.Signature) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [each.replace(kind=keyword) for each in list(signature.parameters.values())[1:]]
    options = [
        inspect.Parameter(each.name, keyword, default=each.default, annotation=each.type)
        for each in fields(Call)
    ]
    context = inspect.Parameter("context", keyword, annotation=typer.Context)
    return signature.replace(parameters=[context, *own, *options])
