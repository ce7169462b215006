"""The modules of `engine.client.generated`, from the declared routes."""

import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from fastapi.params import Header, Param
from pydantic import BaseModel

from engine.http.endpoints import RESOURCES
from engine.http.pages import Page, PagingOf
from engine.http.resource import Endpoint
from engine.http.routes.worker_tasks import WrittenPartition
from engine.model.task import Output
from engine.service.commands.worker_tasks import ClaimedTask

_NAMES: Mapping[str, str] = {
    "set_blast_radius": "set_blast_radius",
    "set_four_eyes": "set_four_eyes",
    "set_admission": "set_admission",
    "end_sessions": "delete_all",
    "set_user_role": "set_role",
    "grant_org_role": "grant",
    "revoke_org_role": "revoke",
    "ingest_request": "send",
    "ingest_run_events": "send_run_events",
}
"""Names of methods by operation, where the path alone does not give a good one."""
_SENT_AS: Mapping[type, type] = {WrittenPartition: Output}
"""Public types in place of those of the service."""
_LEFT_OUT = frozenset({"last_event_id"})
"""Parameters that the client itself sends."""
_OF_BROWSERS = frozenset({"login", "logout"})
"""Resources that programs, which have keys, do not use."""
_VERBS = {"GET": "get", "POST": "create", "DELETE": "delete"}
_STREAM = "stream_events"
_HEAD = '''"""{title}, generated from the routes by `make reference`: do not edit."""

import builtins
'''


def blocking() -> str:
    """The module for blocking code."""
    return _module(is_async=False)


def asynchronous() -> str:
    """The module for asyncio."""
    return _module(is_async=True)


@dataclass(frozen=True)
class _Parameter:
    """A parameter of a method; ``sent_as`` is its name in the request."""

    name: str
    annotation: str
    sent_as: str
    where: Literal["path", "query", "body", "header"]
    default: str | None = None

    @property
    def text(self) -> str:
        default = "" if self.default is None else f" = {self.default}"
        return f"{self.name}: {self.annotation}{default}"


@dataclass
class _Imports:
    """The classes named in a module."""

    operation: Any = None
    modules: dict[str, str] = field(default_factory=dict)

    def name_of(self, kind: type) -> str:
        """The name of a class, imported from the module of the operation if it is public there."""
        name, module = kind.__name__, kind.__module__
        own = sys.modules[getattr(self.operation, "__module__", __name__)]
        if name in getattr(own, "__all__", ()) and getattr(own, name) is kind:
            module = own.__name__
        if module != "builtins":
            known = self.modules.setdefault(name, module)
            assert getattr(sys.modules[known], name) is kind, f"two classes are named {name}"
        return name

    def text(self) -> str:
        return "".join(f"from {module} import {name}\n" for name, module in self.modules.items())


def _module(*, is_async: bool) -> str:
    imports, prefix = _Imports(), "Async" if is_async else ""
    routes = [
        (endpoint, route.endpoint)  # type: ignore[attr-defined]
        for resource in RESOURCES
        for endpoint, route in zip(resource.endpoints, resource.router.routes, strict=True)
        if _root(endpoint) not in _OF_BROWSERS
    ]
    routes.sort(key=lambda pair: _root(pair[0]))
    groups = {root: list(pairs) for root, pairs in groupby(routes, lambda pair: _root(pair[0]))}
    classes = [_resource(root, pairs, imports, prefix) for root, pairs in groups.items()]
    title = f"Methods of `{prefix}Server`"
    parts = [_HEAD.format(title=title), _fixed_imports(prefix), imports.text(), *classes]
    return _formatted("\n".join([*parts, _container(list(groups), prefix)]))


def _fixed_imports(prefix: str) -> str:
    return f"""
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from engine.client.connections import {prefix}Connection
from engine.client.event_streams import {prefix}EventStream
from engine.client.pages import {prefix}Pages
from engine.client.requests import Request, optional, segment
from engine.client.resource import {prefix}Resource
from engine.service.responses import Page
"""


def _resource(
    root: str, pairs: Sequence[tuple[Endpoint, Any]], imports: _Imports, prefix: str
) -> str:
    names = [_method_name(endpoint, [each for each, _ in pairs]) for endpoint, _ in pairs]
    assert len({*names}) == len(names), f"methods of {root} have the same name: {names}"
    methods = "\n".join(
        _method(name, endpoint, handler, imports, prefix)
        for name, (endpoint, handler) in zip(names, pairs, strict=True)
    )
    return f'class {_class(root, prefix)}({prefix}Resource):\n    """`/{root}`."""\n\n{methods}'


def _container(roots: Sequence[str], prefix: str) -> str:
    attributes = "\n".join(
        f"        self.{_identifier(root)} = {_class(root, prefix)}(connection)" for root in roots
    )
    return f'''class {prefix}Resources:
    """The resources of a server."""

    def __init__(self, connection: {prefix}Connection) -> None:
{attributes}
'''


def _method_name(endpoint: Endpoint, others: Sequence[Endpoint]) -> str:
    """The name from the last literal part of the path, or else from the method."""
    if endpoint.name in _NAMES:
        return _NAMES[endpoint.name]
    literals = [part for part in _parts(endpoint) if not part.startswith("{")]
    if literals:
        one = any(_parts(each) == ["{id}", literals[-1]] for each in others)
        is_of_many = len(_parts(endpoint)) == 1 and one
        return _identifier(literals[-1]) + ("_many" if is_of_many else "")
    is_list = endpoint.method == "GET" and get_origin(endpoint.returns) is Page
    return "list" if is_list else _VERBS[endpoint.method]


def _method(name: str, endpoint: Endpoint, handler: Any, imports: _Imports, prefix: str) -> str:
    imports.operation = endpoint.operation
    parameters = [*_parameters(endpoint, handler, imports)]
    kind = _returned(endpoint.returns, imports)
    is_paged = any(each == PagingOf for each in _hints(handler).values())
    request = _request(endpoint, parameters, kind)
    if is_paged:
        item = kind.removeprefix("Page[").removesuffix("]")
        returned, body = f"{prefix}Pages[{item}]", f"{prefix}Pages(self._connection, {request})"
    elif endpoint.name == _STREAM:
        returned = f"{prefix}EventStream"
        body = f"{returned}(self._connection, {request})"
    else:
        sent = f"self._connection.send({request})"
        sent = f"await {sent}" if prefix else sent
        returned, body = kind, sent
        if kind.startswith("Page["):
            returned = f"builtins.list[{kind.removeprefix('Page[')}"
            body = f"[*({sent}).items]"
    is_immediate = is_paged or endpoint.name == _STREAM
    define = "def" if is_immediate or not prefix else "async def"
    return f'''    {define} {name}({_signature(parameters)}) -> {returned}:
        """{endpoint.summary}"""
        return {body}
'''


def _signature(parameters: Sequence[_Parameter]) -> str:
    required = [each.text for each in parameters if each.default is None]
    optional = [each.text for each in parameters if each.default is not None]
    return ", ".join(["self", *required, *(["*"] if optional else []), *optional])


def _request(endpoint: Endpoint, parameters: Sequence[_Parameter], kind: str) -> str:
    parts = [repr(str(endpoint.method)), _path(endpoint, parameters), kind]
    for where in ("query", "body"):
        given = [each for each in parameters if each.where == where]
        values = ", ".join(f"{each.sent_as!r}: {_value(each)}" for each in given)
        if given:
            parts.append(f"{where}={{{values}}}")
    if headers := [each for each in parameters if each.where == "header"]:
        values = ", ".join(f"{each.sent_as!r}: {each.name}" for each in headers)
        parts.append(f"headers={{{values}}}")
    if endpoint.is_raw:
        parts += ["content=content", "headers=headers or {}"]
    if endpoint.requires_task:
        parts.append("token=task.token")
    return f"Request({', '.join(parts)})"


def _value(parameter: _Parameter) -> str:
    is_left_out = parameter.where == "body" and parameter.default == "None"
    return f"optional({parameter.name})" if is_left_out else parameter.name


def _path(endpoint: Endpoint, parameters: Sequence[_Parameter]) -> str:
    path = endpoint.path
    for each in parameters:
        if each.where == "path":
            value = f"{each.name}.id" if endpoint.requires_task else each.name
            path = path.replace(f"{{{each.sent_as}}}", f"{{segment({value})}}")
    return f"f{path!r}" if "{" in path else repr(path)


def _parameters(endpoint: Endpoint, handler: Any, imports: _Imports) -> Iterator[_Parameter]:
    for name, parameter in inspect.signature(handler).parameters.items():
        hint = _hints(handler)[name]
        if f"{{{name}}}" in endpoint.path:
            yield _path_parameter(endpoint, name, hint, imports)
        elif (body := _body(hint)) is not None:
            yield from _fields(body, imports)
        elif (found := _query(hint)) is not None and name not in _LEFT_OUT:
            where: Literal["header", "query"] = "header" if isinstance(found, Header) else "query"
            is_required = parameter.default is inspect.Parameter.empty
            sent_as = found.alias or name
            yield _parameter(name, sent_as, where, hint, imports, is_required, parameter.default)
    if endpoint.is_raw:
        yield _Parameter("content", "bytes", "", "path")
        yield _Parameter("headers", "Mapping[str, str | None] | None", "", "path", "None")


def _path_parameter(endpoint: Endpoint, name: str, hint: Any, imports: _Imports) -> _Parameter:
    if endpoint.requires_task:
        return _Parameter("task", imports.name_of(ClaimedTask), name, "path")
    annotation = _annotation(hint, imports)
    if annotation == "UUID" or name in ("id", "user"):
        annotation = f"str | {imports.name_of(UUID)}"
    own = _identifier(_root(endpoint)).removesuffix("s") if name == "id" else name
    return _Parameter(own, annotation, name, "path")


def _fields(body: type[BaseModel], imports: _Imports) -> Iterator[_Parameter]:
    for name, info in body.model_fields.items():
        yield _parameter(
            name, name, "body", info.annotation, imports, info.is_required(), info.default
        )


def _parameter(
    name: str,
    sent_as: str,
    where: Literal["query", "body", "header"],
    hint: Any,
    imports: _Imports,
    is_required: bool,
    default: Any,
) -> _Parameter:
    annotation = _annotation(hint, imports)
    if name == "ids":
        annotation = annotation.replace("[str]", f"[str | {imports.name_of(UUID)}]")
    if is_required:
        return _Parameter(name, annotation, sent_as, where)
    if isinstance(default, bool | int | float | str) and type(default) in (bool, int, float, str):
        return _Parameter(name, annotation, sent_as, where, repr(default))
    if "None" not in annotation.split(" | "):
        annotation += " | None"
    return _Parameter(name, annotation, sent_as, where, "None")


def _annotation(hint: Any, imports: _Imports) -> str:
    """The annotation of a parameter; a list may be any sequence."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotation(args[0], imports)
    if origin in (Union, UnionType):
        return " | ".join(_annotation(each, imports) for each in args)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin in (list, tuple):
        return f"Sequence[{_annotation(args[0], imports)}]"
    if origin is dict:
        return f"Mapping[{', '.join(_annotation(each, imports) for each in args)}]"
    if hint in (None, NoneType, Any):
        return "Any" if hint is Any else "None"
    return imports.name_of(_SENT_AS.get(hint, hint))


def _returned(hint: Any, imports: _Imports) -> str:
    if get_origin(hint) is Page:
        return f"Page[{imports.name_of(get_args(hint)[0])}]"
    return imports.name_of(hint)


def _body(hint: Any) -> type[BaseModel] | None:
    kinds = [each for each in (get_args(hint) or (hint,)) if isinstance(each, type)]
    return next((each for each in kinds if issubclass(each, BaseModel)), None)


def _query(hint: Any) -> Param | None:
    found = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Param)]
    return found[-1] if found else None


def _hints(handler: Any) -> dict[str, Any]:
    return get_type_hints(handler, include_extras=True)


def _root(endpoint: Endpoint) -> str:
    return endpoint.path.strip("/").partition("/")[0]


def _parts(endpoint: Endpoint) -> list[str]:
    return endpoint.path.strip("/").split("/")[1:]


def _identifier(text: str) -> str:
    return text.replace("-", "_")


def _class(root: str, prefix: str) -> str:
    return f"{prefix}{root.title().replace('-', '')}Resource"


@cache
def _formatted(source: str) -> str:
    """Sort the imports, remove unused ones, and format."""
    for command in (
        ["check", "--select", "F401,I,E501", "--fix-only", "--quiet"],
        ["format", "--quiet"],
    ):
        line = [sys.executable, "-m", "ruff", *command, "--stdin-filename", "generated.py", "-"]
        done = subprocess.run(line, input=source, capture_output=True, text=True, check=True)
        source = done.stdout
    return source
