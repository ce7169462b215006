"""Programs distinguish errors by code, so codes are unique and documented on the page."""

import re
from collections.abc import Iterator

from engine.errors import KnockonError
from tests.support.compose import ROOT

PAGE = ROOT / "docs" / "reference" / "errors.md"


def all_errors(base: type[KnockonError] = KnockonError) -> Iterator[type[KnockonError]]:
    yield base
    for each in base.__subclasses__():
        if each.__module__ == "engine.errors":
            yield from all_errors(each)


def test_each_class_defines_its_own_code() -> None:
    codes = [vars(each)["code"] for each in all_errors()]
    assert len(codes) == len(set(codes))


def test_the_page_lists_each_code_with_its_class() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((each.code, each.__name__) for each in all_errors())
