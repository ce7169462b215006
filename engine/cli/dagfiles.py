"""Reading DAG files from the disk."""

from pathlib import Path

from engine.errors import InvalidDag
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag


def read_dag(path: Path) -> DagFile:
    """The DAG of a file; SQL files are found beside it. Raises InvalidDag."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidDag(f"{path}: {error.strerror}: name a DAG file that can be read") from None
    return parse_dag(text, where=str(path), read_file=lambda name: _read_beside(path, name))


def _read_beside(dag: Path, name: str) -> str:
    """Raises OSError or ValueError, which the reader reports at the line that names the file."""
    return (dag.parent / name).read_text(encoding="utf-8")
