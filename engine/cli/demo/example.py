"""Files of the flights example."""

from pathlib import Path

import engine


def example_file(name: str) -> Path:
    """A file of `examples/flights`, in the source tree or installed with the package."""
    package = Path(engine.__file__).parent
    source = package.parent / "examples" / "flights"
    return (source if source.is_dir() else package / "_examples" / "flights") / name


def read_example(name: str) -> str:
    """The text of a file."""
    return example_file(name).read_text(encoding="utf-8")
