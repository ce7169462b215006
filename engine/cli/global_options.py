"""The options of every command, before or after its name: `knockon --json status --org a`."""

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
class GlobalOptions:
    """The options of every command; None defers to the environment."""

    org: Annotated[str | None, _option("--org", "Org of the command.")] = None
    database_url: Annotated[
        str | None,
        _option("--database-url", "PostgreSQL address; if unset, an embedded server is used."),
    ] = None
    server: Annotated[
        str | None,
        _option("--server", "HTTP service to use instead of a database: see 'knockon login'."),
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
    """Add the global options to a command, passed as a `GlobalOptions` in the first parameter.

    The function of a command group runs only if no command of the group is called.
    """

    @wraps(function)
    def wrapper(context: typer.Context, **arguments: Any) -> None:
        given = {option.name: arguments.pop(option.name) for option in fields(GlobalOptions)}
        # Options closer to the command override those before it.
        overrides = {name: value for name, value in given.items() if value}
        context.obj = replace(context.obj or GlobalOptions(), **overrides)
        if context.invoked_subcommand is None:
            function(context.obj, **arguments)

    signature = _with_options(inspect.signature(function))
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    wrapper.__annotations__ = {
        parameter.name: parameter.annotation for parameter in signature.parameters.values()
    }
    return wrapper


def _with_options(signature: inspect.Signature) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [parameter.replace(kind=keyword) for parameter in list(signature.parameters.values())[1:]]
    options = [
        inspect.Parameter(option.name, keyword, default=option.default, annotation=option.type)
        for option in fields(GlobalOptions)
    ]
    context = inspect.Parameter("context", keyword, annotation=typer.Context)
    return signature.replace(parameters=[context, *own, *options])
