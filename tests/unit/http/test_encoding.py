"""Encoding of responses, entity tags, and the depth of bodies."""

import pytest

from engine.http.encoding import encode
from engine.http.etags import etag_of, is_known
from engine.http.limits import MAX_DEPTH, check_depth
from engine.http.problems import RequestError


def test_text_without_utf8_is_replaced() -> None:
    assert encode({"a\ud800": ["b\udfff", 1]}) == b'{"a?":["b?",1]}'


def test_tags_differ_with_the_body() -> None:
    assert etag_of(b"a") != etag_of(b"b")
    assert etag_of(b"a").startswith('"')


@pytest.mark.parametrize(
    ("header", "known"),
    [(None, False), ("", False), ("*", True), ('"x"', True), ('W/"x"', True), ('"y", "x"', True),
     ('"y"', False), ("x", False)],
)  # fmt: skip
def test_the_comparison_of_tags_is_weak(header: str | None, known: bool) -> None:
    assert is_known('"x"', header) is known


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_the_depth_is_limited() -> None:
    check_depth(nested(MAX_DEPTH))
    check_depth([[]] * 10_000)
    with pytest.raises(RequestError):
        check_depth({"a": nested(MAX_DEPTH)})
