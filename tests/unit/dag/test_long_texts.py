"""Texts in DAG files that a careless regular expression would examine for hours."""

import pytest

from engine.model.references import literal_secrets
from engine.model.tables import TableName, sql_name


@pytest.mark.parametrize("text", [" " * 100_000 + '"', ("a" + " " * 999) * 100 + '"'])
def test_the_name_of_a_table(text: str) -> None:
    assert sql_name(text).name


def test_spaces_around_the_parts_of_a_name_are_ignored() -> None:
    assert sql_name(' shop . "A" . two words ') == TableName("A", "two words")
    assert sql_name(" x ") == TableName(None, "x")


@pytest.mark.parametrize("text", ["a." * 200_000, "a:" * 20_000, "://" * 200_000])
def test_a_text_without_secrets(text: str) -> None:
    assert list(literal_secrets({"note": text})) == []


def test_a_password_in_a_long_text_is_found() -> None:
    text = "a." * 1_000 + " postgresql://u:hunter2hunter2@host/db"
    assert list(literal_secrets({"note": text})) == [("note",)]
