"""Types of single fields of a DAG file: patterns, short forms and their validators."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from engine.model.source_positions import shown

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""A name valid in SQL without quotes, within PostgreSQL's limit of 63 bytes."""

EVERY_COLUMN = "*"
"""Stands for all output columns in column lineage."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * 86400


@dataclass(frozen=True, slots=True, eq=False)
class ShortForm:
    """Adds a short form to a field's JSON Schema; a validator expands the short form."""

    short: JsonSchemaValue

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [self.short, handler(core)]}


def rejection(message: str) -> PydanticCustomError:
    """Return the error for an invalid value in a DAG file."""
    return PydanticCustomError("dag", "{message}", {"message": message})


def to_seconds(value: Any) -> Any:
    """Convert a duration such as ``90s`` or ``2h`` to seconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", value) if isinstance(value, str) else None
    if not found:
        raise rejection(f"{shown(value)} is not a duration: write seconds, or 90s, 10m, 2h, 1d")
    return int(found[1]) * _UNITS[found[2]]


def check_wait_for(value: Any) -> Any:
    """Reject anything but ``any``, ``all``, ``{all_but: 3}`` and a number of partitions."""
    is_mapping = isinstance(value, dict) and value.keys() == {"all_but"}
    number = value["all_but"] if is_mapping else value
    if value in ("any", "all") or (type(number) is int and number >= 1):
        return value
    raise rejection(
        f"{shown(value)} is not valid for wait_for: write any, all, a number of partitions from 1, "
        "or {all_but: number}"
    )


def expand_columns(value: Any) -> Any:
    """Expand a list of names to a mapping without lineage."""
    if isinstance(value, list):
        repeated = {str(name) for name in value if value.count(name) > 1}
        if repeated or not all(isinstance(name, str) for name in value) or "*" in value:
            raise rejection("columns are distinct names, and '*' is only valid in a mapping")
        return dict.fromkeys(value)
    if not isinstance(value, dict) or None in value.values():
        raise rejection(
            "columns are a list of names, or a mapping from each column to a list of source "
            "columns, [] for none"
        )
    return value


def form_tag(value: Any) -> str | None:
    """Return the tag of a value that is either a text or a mapping."""
    if isinstance(value, str):
        return "<text>"
    return "<mapping>" if isinstance(value, dict | BaseModel) else None


def dimension_tag(value: Any) -> str | None:
    """Return the tag of a dimension, by the key specific to its kind."""
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    kinds = (
        kind for kind in ("time", "every", "cron", "range", "static", "dynamic") if kind in keys
    )
    return next((f"<{kind}>" for kind in kinds), None)


def to_key_text(value: Any) -> Any:
    """Convert a key to text: YAML reads the keys 2013 and 42 as numbers."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def to_tuple(value: Any) -> Any:
    """Convert a single text to a tuple of one."""
    return (value,) if isinstance(value, str) else value


def without_default(schema: JsonDict) -> None:
    """Remove the default from a JSON Schema."""
    del schema["default"]


STRING: JsonSchemaValue = {"type": "string"}
NAME_LIST: JsonSchemaValue = {"type": "array", "items": STRING, "uniqueItems": True}
DURATION: JsonSchemaValue = {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$"}

GROUP = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A named group in braces, for a variable part of a text."""

_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
_ALIAS = f"^{IDENTIFIER.pattern}$"
_COLUMN = r"^[^\x00-\x1f]+$"
_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"
_TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_STEP = r"^[1-9][0-9]{0,4}[mh]$"
_REFERENCE = r"^[A-Za-z_][A-Za-z0-9_]*\.[^\x00-\x1f]+$"
PATTERNS = {
    _NAME: "a name: a letter or _, then letters, digits, _, . or -",
    _ALIAS: "an SQL identifier: a letter or _, then letters, digits or _, 63 at most",
    _COLUMN: "a column name: text without control characters",
    _REFERENCE: "an input column: write alias.column",
    _TIME_OF_DAY: 'a time of day: write one like "06:00"',
    _STEP: "a number of minutes or hours: write one like 15m or 4h",
    _TOPIC: "a topic's name: letters, digits, ., _ or -, 249 at most",
}
"""The patterns in words."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
"""A valid name of a dataset."""
Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=128)]
Alias = Annotated[str, StringConstraints(pattern=_ALIAS)]
Column = Annotated[str, StringConstraints(pattern=_COLUMN, max_length=128)]
ColumnReference = Annotated[str, StringConstraints(pattern=_REFERENCE, max_length=192)]
Topic = Annotated[str, StringConstraints(pattern=_TOPIC)]
TimeOfDay = Annotated[str, StringConstraints(pattern=_TIME_OF_DAY)]
Step = Annotated[str, BeforeValidator(to_key_text), StringConstraints(pattern=_STEP)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
KeyText = Annotated[Text, BeforeValidator(to_key_text), ShortForm({"type": "integer"})]
Duration = Annotated[
    int, BeforeValidator(to_seconds), Field(gt=0, le=_LONGEST, strict=True), ShortForm(DURATION)
]


class Spec(BaseModel):
    """Part of a DAG file: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
