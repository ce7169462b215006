"""YAML read as plain data, with the line of every value and without anchors and tags.

Scalars follow the core schema of YAML 1.2, narrowed to ``null``, ``true``, ``false`` and decimal
numbers; everything else is text. So ``no`` is Norway, and 2013-01-01 stays as written.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from engine.errors import InvalidDag
from engine.model.source_positions import Path, Problem, SourceMap

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_NODES = 100_000

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
INTEGER = re.compile(r"[-+]?[0-9]+")
FLOAT = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read_yaml(text: str | bytes, where: str) -> tuple[Any, SourceMap]:
    """Parse the single document in ``text``, and return it with the positions of its values.

    The limits ``MAX_BYTES``, ``MAX_DEPTH`` and ``MAX_NODES`` are enforced during parsing, so that a
    malicious file costs no more than a large one. Raises InvalidDag.
    """
    reader = _Reader(where)
    content = reader.read(decoded(text, where))
    return content, SourceMap(where, reader.positions)


def decoded(text: str | bytes, where: str) -> str:
    """Decode the text of a file, without a byte order mark. Raises InvalidDag."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise _refusal(where, (1, 1), f"the file is larger than {MAX_BYTES} bytes: split the DAG")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise _refusal(where, (line, column), "this is not UTF-8: save the file as UTF-8") from None


def _refusal(where: str, at: tuple[int, int], message: str, path: Path = ()) -> InvalidDag:
    return SourceMap(where, {path: at}).error([Problem(path, message)])


def _position(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


class _Reader:
    """A single pass over the parser's events, which also fills ``positions``."""

    def __init__(self, where: str) -> None:
        self.positions: dict[Path, tuple[int, int]] = {}
        self._where = where
        self._nodes = 0

    def read(self, text: str) -> Any:
        try:
            return self._document(iter(yaml.parse(text, Loader=_Loader)))
        except yaml.MarkedYAMLError as error:
            at = _position(error.problem_mark or error.context_mark)
            raise _refusal(self._where, at, f"this is not YAML: {error.problem}") from None
        except yaml.YAMLError as error:
            raise _refusal(self._where, (1, 1), f"this is not YAML: {error}") from None

    def _document(self, events: Iterator[Any]) -> Any:
        content: Any = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.positions:
                    self._refuse(event, (), "a second document begins here: one file is one DAG")
                content = self._value(next(events), events, ())
        return content

    def _value(self, event: Any, events: Iterator[Any], path: Path) -> Any:
        self._check(event, path)
        self.positions.setdefault(path, _position(event.start_mark))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        return self._scalar(event, path)

    def _mapping(self, events: Iterator[Any], path: Path) -> dict[str, Any]:
        content: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            self._check(event, path)
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, path, "a key must be plain text")
            here = (*path, event.value)
            if here in self.positions:
                line, _ = self.positions[here]
                self._refuse(event, here, f"this key stands on line {line} already: keep one")
            self.positions[here] = _position(event.start_mark)
            content[self._text(event, path)] = self._value(next(events), events, here)
        return content

    def _sequence(self, events: Iterator[Any], path: Path) -> list[Any]:
        content: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            content.append(self._value(event, events, (*path, len(content))))
        return content

    def _scalar(self, event: Any, path: Path) -> Any:
        text = self._text(event, path)
        plain, _ = event.implicit
        if not plain:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if INTEGER.fullmatch(text) or FLOAT.fullmatch(text):
            return self._number(event, text, path)
        return text

    def _number(self, event: Any, text: str, path: Path) -> int | float:
        if not INTEGER.fullmatch(text):
            number: int | float = float(text)
        else:
            number = int(text) if len(text) <= 20 else math.inf
        if not (
            -(1 << 63) <= number < 1 << 63 if isinstance(number, int) else math.isfinite(number)
        ):
            self._refuse(event, path, "the number does not fit 64 bits: quote it to make it text")
        return number

    def _text(self, event: Any, path: Path) -> str:
        text: str = event.value
        if _UNSTORABLE.search(text):
            self._refuse(event, path, "this holds a character that no database stores")
        return text

    def _check(self, event: Any, path: Path) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(event, path, f"the file has more than {MAX_NODES} values: split the DAG")
        if len(path) > MAX_DEPTH:
            self._refuse(event, path, f"values are nested more than {MAX_DEPTH} deep")
        if event.anchor is not None:
            self._refuse(event, path, "anchors and aliases are not read: use partitionings")
        if getattr(event, "tag", None) is not None:
            self._refuse(event, path, f"the tag {event.tag} is not read: write plain YAML")

    def _refuse(self, event: Any, path: Path, message: str) -> NoReturn:
        raise _refusal(self._where, _position(event.start_mark), message, path)
