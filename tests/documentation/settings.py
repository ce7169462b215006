"""The page of settings, from `engine.settings`."""

from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from engine.settings import Settings
from tests.documentation.markdown import GENERATED, code, table

_INTRODUCTION = """
# Settings

Each setting is an environment variable. The options `--org`, `--database-url`, `--server`,
`--kafka`, `--log-level` and `--monitor` of the [command line](command-line.md) take
precedence. Durations are in seconds.

"""

_SECRETS = """
## Secrets

`KNOCKON_SECRET_<NAME>` is the value of the reference `${NAME}` in [DAG files](dag-file.md#config).

Secrets belong in the environment, never on a command line, because every user of the machine can
read command lines: put an address with a password in `KNOCKON_DATABASE_URL`, not in
`--database-url`. Logs and errors show passwords and keys of the settings as `***` if the values
have eight characters or more, and name databases and registries without passwords. Versions of DAG
files deployed before passwords were rejected still contain them: change such passwords.
"""


def page() -> str:
    """The page of settings."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    heads = ["variable", "default", "values", "meaning"]
    return GENERATED + _INTRODUCTION + table(heads, rows) + _SECRETS


def _row(name: str, field: FieldInfo) -> list[str]:
    default = "" if field.default is None else code(_number(field.default))
    description = field.description or ""
    for other in Settings.model_fields:
        description = description.replace(code(other), code(_variable(other)))
    return [code(_variable(name)), default, _values(field), description]


def _variable(name: str) -> str:
    return f"KNOCKON_{name.upper()}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(code(value) for value in get_args(field.annotation))
    limits = [
        f"{sign} {bound}"
        for limit in field.metadata
        for sign, name in (("above", "gt"), ("from", "ge"), ("to", "le"))
        if (bound := getattr(limit, name, None)) is not None
    ]
    return " ".join(limits)
