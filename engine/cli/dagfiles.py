"""Read DAG files from the disk or from standard input."""

import sys
from pathlib import Path

from engine.errors import InvalidDag
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag

STANDARD_INPUT = Path("-")


def read_dag(path: Path) -> DagFile:
    """The DAG of a file, or of standard input for ``-``. Raises InvalidDag.

    SQL files are found beside the DAG file, so a DAG on standard input has to include its SQL.
    """
    if path == STANDARD_INPUT:
        return parse_dag(sys.stdin.buffer.read(), where="<stdin>")
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidDag(f"{path}: {error.strerror}: name a DAG file that can be read") from None
    return parse_dag(text, where=str(path), read_file=lambda name: _read_beside(path, name))


def _read_beside(dag: Path, name: str) -> str:
    """Raises OSError or ValueError, which the reader reports at the line that names the file."""
    return (dag.parent / name).read_text(encoding="utf-8")
