"""Text from outside on a terminal: control characters are escaped, other characters stay."""

import io
import json
import os
import subprocess
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from engine.cli.render.console import console
from engine.cli.render.elements import empty_table
from engine.printable import printable, printable_json

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
SEQUENCES = (
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]52;c;aGk=\x07",
    "\x9b31m",
    "\x90q\x9c",
    "\r\x08\x7f",
    *BIDI,
)
texts = st.lists(
    st.one_of(
        st.sampled_from(SEQUENCES),
        st.text(max_size=5),
        st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]),
        st.sampled_from(["[bold]", "[link=http://x]", "[/]", ":smile:", "\\[", "[@click=f()]"]),
    ),
    max_size=8,
).map("".join)


def _without_surrogates(text: str) -> str:
    """Two escaped surrogates in a row are one character in JSON; no driver returns any."""
    return text.encode(errors="replace").decode()


def acts(character: str) -> bool:
    """Return true if a terminal may interpret the character."""
    category = unicodedata.category(character)
    controls = category == "Cc" and character not in "\n\t"
    return controls or category in ("Cs", "Zl", "Zp") or character in BIDI


@given(texts)
def test_printable_text_has_no_control_characters_and_the_same_length(text: str) -> None:
    found = printable(text)
    assert not any(map(acts, found))
    assert len(found) == len(text)


@given(st.dictionaries(texts.map(_without_surrogates), texts.map(_without_surrogates)))
def test_printable_json_is_the_same_value(value: dict[str, str]) -> None:
    document = printable_json(json.dumps(value, ensure_ascii=False))
    assert not any(map(acts, document))
    assert json.loads(document) == value


@given(texts)
def test_rendered_text_has_no_control_characters(text: str) -> None:
    shown = printable(text).expandtabs()
    for drawn in (text, Text(text), _table(text), _tree(text), Text.assemble((text, "bold red"))):
        found = _printed(drawn)
        assert not any(map(acts, found))
        for word in ("[bold]", ":smile:", "[/]"):
            assert found.count(word) >= (word in shown and len(shown) < 40)


def _printed(drawn: Any) -> str:
    target = console()
    target.file = io.StringIO()
    target.print(drawn)
    return target.file.getvalue()


def _table(text: str) -> Table:
    made = empty_table(text, title=text)
    made.add_row(text)
    return made


def _tree(text: str) -> Tree:
    made = Tree(text)
    made.add(text)
    return made


_LOG = """
import logging, structlog
from engine.logs import configure_logs
from engine.settings import Settings
configure_logs(Settings())
text = %r
structlog.get_logger("x").warning(text, why=text, other=[text], error=OSError(text))
structlog.get_logger("x").warning("w", **{"key" + text: 1})
logging.getLogger("y").error(text)
try:
    raise ValueError(text)
except ValueError:
    structlog.get_logger("z").exception("it broke")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_log_lines_have_no_control_characters(log_format: str) -> None:
    text = "a" + "".join(SEQUENCES) + "b\n2026-01-01 [error] forged"
    done = subprocess.run(
        [sys.executable, "-c", _LOG % text],
        env={**os.environ, "KNOCKON_LOG_FORMAT": log_format},
        capture_output=True,
        check=True,
    )
    found = done.stderr.decode()
    assert not any(map(acts, found))
    assert not any(line.startswith("2026-01-01 [error]") for line in found.splitlines())
    assert found.count("forged") >= 5
