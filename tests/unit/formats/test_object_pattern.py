"""Patterns of object keys, compared with regular expressions, and against malicious ones."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consumers.formats.object_pattern import LONGEST_KEY, ObjectPattern

PARTS = st.lists(st.sampled_from(["a", "b", "/", "=", ".", "*", "**", "{x}", "{y}"]), max_size=8)
KEYS = st.text("ab/=.", max_size=12)


def expected(pattern: str, key: str) -> dict[str, Any] | None:
    """The fields by a regular expression, which defines the meaning of a pattern."""
    text = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    text = re.sub(r"\\{(\w)\\}", r"(?P<\1>[^/]+)", text)
    match = re.compile(text + ("" if pattern.endswith("/") else r"\Z"), re.DOTALL).match(key)
    return None if match is None else match.groupdict()


@given(PARTS, KEYS)
def test_a_pattern_takes_what_a_regular_expression_would(parts: list[str], key: str) -> None:
    named = [p for i, p in enumerate(parts) if not p.startswith("{") or p not in parts[:i]]
    # Three stars are two and one, in both.
    pattern = "".join(named)
    assert ObjectPattern(pattern).match(key) == expected(pattern, key)


def test_many_wildcards_take_no_longer_than_few() -> None:
    key = "x" * LONGEST_KEY
    for wildcard in ("*", "**", "{%d}"):
        parts = (wildcard.replace("%d", f"f{n}") + "x" for n in range(100))
        assert ObjectPattern("".join(parts) + "y").match(key) is None


def test_a_longer_key_than_any_object_has_does_not_match() -> None:
    assert ObjectPattern("**").match("x" * LONGEST_KEY) == {}
    assert ObjectPattern("**").match("x" * (LONGEST_KEY + 1)) is None
