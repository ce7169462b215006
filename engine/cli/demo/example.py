"""Where the files of the flights example are."""

from pathlib import Path

import engine


def example_file(name: str) -> Path:
    """A file of `examples/flights`: beside the package in a source tree, else installed in it."""
    package = Path(engine.__file__).parent
    source = package.parent / "examples" / "flights"
    return (source if source.is_dir() else package / "_examples" / "flights") / name


def read_example(name: str) -> str:
    """The text of one of them."""
    return example_file(name).read_text(encoding="utf-8")
