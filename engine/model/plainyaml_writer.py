"""Plain data written as YAML that `read_yaml` reads back."""

import re
from typing import Any

import yaml

from engine.model.plainyaml import FLOAT, INTEGER
from engine.printable import UNSAFE

_WIDTH = 100
_TAG = "tag:yaml.org,2002:"


def write_yaml(content: Any) -> str:
    """Write plain data as YAML, with mappings in order and texts of several lines as blocks."""
    text: str = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, indent=2
    )
    # These characters are in double quotes, where they may be escaped.
    return UNSAFE.sub(lambda unsafe: f"\\U{ord(unsafe[0]):08x}", text)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes exactly the texts that the reader would take for something else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None
    if UNSAFE.search(text):
        style = '"'
    elif "\n" in text and not text[0].isspace():
        style = "|"
    return dumper.represent_scalar(_TAG + "str", text, style=style)


_Dumper.add_representer(str, _text)
for _kind, _pattern in (
    ("null", re.compile(r"|~|null")),
    ("bool", re.compile(r"true|false")),
    ("int", INTEGER),
    ("float", FLOAT),
):
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    _Dumper.add_implicit_resolver(_TAG + _kind, _whole, None)
