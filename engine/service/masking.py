"""Masks: results and errors without hidden names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

T = TypeVar("T")
HIDDEN: Final = "(hidden)"
"""Placeholder of hidden names and contents."""
_NO_ID: Final = UUID(int=0)
_NAME = re.compile(r"[\w.-]+")
_NAMING: Final = frozenset({"dataset", "job", "dag", "dag_name", "name"})
"""Fields with a name, which stays if it is visible."""
_SUBJECTS: Final = ("dataset", "job", "dataset_uuid")


class Mask:
    """Mask of hidden names: ``subjects`` are datasets and jobs, ``names`` all hidden names.

    A value with a hidden dataset or job as the subject loses all of its texts and ids; elsewhere a
    placeholder replaces the name only.
    """

    def __init__(
        self, subjects: frozenset[str] | set[str], names: frozenset[str] | set[str]
    ) -> None:
        self.subjects = frozenset(subjects)
        self._names = frozenset(name.casefold() for name in names)

    def value(self, value: T) -> T:
        """Return a value without hidden names, of the same type."""
        return self._value(value) if self._names else value

    def text(self, text: str) -> str:
        """Return a text without hidden names."""
        return _NAME.sub(lambda match: self._name(match[0]), text)

    def keeping(self, text: str) -> Mask:
        """Return the mask without the names that occur in a text."""
        named = {name.casefold() for name in _NAME.findall(text)}
        return Mask(self.subjects, self._names - named)

    def _name(self, name: str) -> str:
        """Mask a name, or the hidden ones among its dotted parts."""
        parts = name.split(".")
        for size in range(len(parts), 0, -1):
            for start in range(len(parts) - size + 1):
                if ".".join(parts[start : start + size]).casefold() in self._names:
                    before, after = parts[:start], parts[start + size :]
                    sides = (self._name(".".join(side)) for side in (before, after))
                    left, right = sides
                    return f"{left}{'.' * bool(before)}{HIDDEN}{'.' * bool(after)}{right}"
        return name

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, Enum | bool | int | float | bytes | UUID):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(map(self._value, value))
        return self._object(value)

    def _mapping(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        if self._is_about_hidden(value):
            return {key: self._field(str(key), item) for key, item in value.items()}
        return {
            self._value(key): _blank(item) if key in self.subjects else self._value(item)
            for key, item in value.items()
        }

    def _object(self, value: Any) -> Any:
        fields = _fields(value)
        if not fields:
            return value
        convert = self._field if self._is_about_hidden(fields) else _ignoring_name(self._value)
        changes = {name: convert(name, item) for name, item in fields.items()}
        if isinstance(value, msgspec.Struct):
            return msgspec.structs.replace(value, **changes)
        return dataclasses.replace(value, **changes)

    def _is_about_hidden(self, fields: Mapping[Any, Any]) -> bool:
        subjects = (fields.get(name) for name in _SUBJECTS)
        return any(isinstance(each, str) and each in self.subjects for each in subjects)

    def _field(self, name: str, value: Any) -> Any:
        return self._value(value) if name in _NAMING else _blank(value)


def has_text(value: Any) -> bool:
    """Return whether a value contains text, so that it may contain a name."""
    if isinstance(value, str | bytes):
        return True
    if isinstance(value, Mapping):
        return any(has_text(each) for item in value.items() for each in item)
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(has_text, value))
    return any(map(has_text, _fields(value).values()))


def _ignoring_name(convert: Any) -> Any:
    return lambda _, value: convert(value)


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a struct or dataclass; none of other objects, such as times."""
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {}


def _blank(value: Any) -> Any:
    """Return a value of the same shape without texts, ids and contents."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return HIDDEN
    if isinstance(value, UUID):
        return _NO_ID
    if isinstance(value, Mapping):
        return {}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(map(_blank, value))
    changes = {name: _blank(item) for name, item in _fields(value).items()}
    if not changes:
        return value
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.replace(value, **changes)
    return dataclasses.replace(value, **changes)
