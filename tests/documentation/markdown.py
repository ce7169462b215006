"""Markdown written by the generators."""

from collections.abc import Iterable, Sequence

GENERATED = "<!-- Generated from the code by `make reference`. -->\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars within cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def code(text: str) -> str:
    """Text as inline code; empty text stays empty."""
    return f"`{text}`" if text else ""
