"""DAG files, read from disk or standard input."""

import sys
from pathlib import Path

from engine.errors import InvalidDag
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag

STANDARD_INPUT = Path("-")


def read_dag(path: Path) -> DagFile:
    """The DAG of a file, or of standard input for ``-``. Raises InvalidDag.

    SQL files are read relative to the DAG file; a DAG on standard input has to include its SQL.
    """
    if path == STANDARD_INPUT:
        return parse_dag(sys.stdin.buffer.read(), where="<stdin>")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidDag(f"{path}: {error.strerror}: name a readable DAG file") from None
    return parse_dag(text, where=str(path), read_file=lambda name: _read_sibling(path, name))


def _read_sibling(dag: Path, name: str) -> str:
    """Read a file named in a DAG file; errors are reported at the line of the name."""
    return (dag.parent / name).read_text(encoding="utf-8")
