"""Parsing of DAG files, with a report of all problems."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engine.model.dag import DagFile
from engine.model.dag_fields import PATTERNS
from engine.model.plainyaml import decoded, read_yaml
from engine.model.source_positions import Path, Problem, SourceMap, did_you_mean, shown

_MESSAGES = {
    "missing": "this key is required: add it",
    "too_short": "at least one is required: add it",
    "string_type": "this must be text: quote it",
    "dict_type": "this must be a mapping",
    "model_type": "this must be a mapping",
    "model_attributes_type": "this must be a mapping",
    "tuple_type": "this must be a list",
    "union_tag_not_found": "the key kind is required: add it",
}


def parse_dag(
    text: str | bytes, *, where: str, read_file: Callable[[str], str] | None = None
) -> DagFile:
    """Parse the text of a DAG file.

    ``where`` is the file name in messages. ``read_file`` returns the text of a file given by its
    path relative to the DAG file, for ``sql_file``; it may raise OSError or ValueError. Raises
    InvalidDag with every problem, one per line: ``file:line:column: path: what to do``.
    """
    content, source_map = read_yaml(text, where)
    if not isinstance(content, dict):
        raise source_map.error([Problem((), "a DAG file is a mapping with the keys dag and jobs")])
    is_alone = not any(_sql_file_configs(content))
    if problems := list(_read_in_sql(content, read_file)):
        raise source_map.error(problems)
    return _validated(content, replace(source_map, text=decoded(text, where) if is_alone else ""))


def reread_dag(written: str, text: str = "", where: str = "DAG") -> DagFile:
    """Restore a DAG from its ``written`` content, with the ``text`` of its file.

    ``where`` names it in messages. Raises InvalidDag if no longer valid.
    """
    return _validated(msgspec.json.decode(written), SourceMap(where, text=text))


def _validated(content: dict[str, Any], source_map: SourceMap) -> DagFile:
    try:
        dag = DagFile.model_validate(content)
    except ValidationError as error:
        raise source_map.error(_problems(error, content)) from None
    dag._source_map = replace(source_map, content=content)
    return dag


def _read_in_sql(
    content: dict[str, Any], read_file: Callable[[str], str] | None
) -> Iterator[Problem]:
    """Replace each ``sql_file`` with the file's text, so that the text is part of the content."""
    for index, config in _sql_file_configs(content):
        try:
            config["sql"] = _sql(config, read_file)
            del config["sql_file"]
        except (OSError, ValueError) as error:
            yield Problem(("jobs", index, "config", "sql_file"), str(error))


def _sql_file_configs(content: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the configs with ``sql_file``, by the index of the job."""
    jobs = content.get("jobs")
    for index, job in enumerate(jobs if isinstance(jobs, list) else ()):
        config = job.get("config") if isinstance(job, dict) else None
        if isinstance(config, dict) and "sql_file" in config:
            yield index, config


def _sql(config: dict[str, Any], read_file: Callable[[str], str] | None) -> str | dict[str, str]:
    names = config["sql_file"]
    if "sql" in config:
        raise ValueError("sql stands here as well: keep one of the two")
    if read_file is None:
        raise ValueError("files cannot be read from here: put the text under sql")
    if isinstance(names, dict):
        return {dataset: read_file(_inside(name)) for dataset, name in names.items()}
    return read_file(_inside(names))


def _inside(name: Any) -> str:
    path = PurePosixPath(name if isinstance(name, str) else "/")
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{shown(name)} must be the path of a file beside or below the DAG file")
    return str(path)


def _problems(error: ValidationError, content: Any) -> Iterator[Problem]:
    for each in error.errors():
        path = _path(each["loc"], content)
        # Pydantic counts only the valid items of a list; invalid ones have errors of their own.
        if each["type"] != "too_short" or not each["input"]:
            yield Problem(path, _message(each, path))


def _message(error: ErrorDetails, path: Path) -> str:
    kind, given = error["type"], shown(error["input"])
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(error["loc"])
        hint = did_you_mean(str(path[-1]), known) or f"; known are {', '.join(sorted(known))}"
        return f"there is no such key{hint}"
    if kind in ("literal_error", "enum"):
        choices = re.findall("'(.*?)'", context["expected"])
        hint = did_you_mean(str(error["input"]), choices)
        return f"{given} is not one of {', '.join(choices)}{hint}"
    if kind == "union_tag_invalid":
        return f"the kind {context['tag']!r} is not one of {context['expected_tags']}"
    if kind == "string_pattern_mismatch":
        return f"{given} is not {PATTERNS[context['pattern']]}"
    return _MESSAGES.get(kind, error["msg"])


def _path(location: Sequence[str | int], content: Any) -> Path:
    """Convert a location of pydantic to a path, without union tags and ``[key]``."""
    path: list[str | int] = []
    for step in location:
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            if step is not location[-1] or str(step).startswith(("[", "<")):
                continue
        path.append(step)
    return tuple(path)


def _known_keys(location: Sequence[str | int]) -> set[str]:
    """Return the keys of the model that contains the last step of ``location``."""
    models: list[type[BaseModel]] = [DagFile]
    for step in location[:-1]:
        tagged = [model for model in models if step in _tags(model)]
        fields = [found for model in models if (found := model.model_fields.get(str(step)))]
        models = tagged or [each for f in fields for each in _models(f.annotation)] or models
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def _tags(model: type[BaseModel]) -> set[str]:
    """Return the steps that pydantic adds to a location if this model is a member of a union."""
    fields = model.model_fields
    kinds = get_args(fields["kind"].annotation) if "kind" in fields else ()
    return {*kinds, *(f"<{name}>" for name in fields)}


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
