"""DAG files, read from disk or standard input."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from engine.errors import InvalidDag
from engine.model.dag import DagFile
from engine.model.dagfile import parse_dag

STANDARD_INPUT = Path("-")


def read_dags(files: Sequence[Path], complete: Callable[[DagFile], DagFile]) -> list[DagFile]:
    """The DAGs of files, each completed. Raises InvalidDag with the problems of all files."""
    read = dict(read_each(files, complete))
    if errors := [dag for dag in read.values() if isinstance(dag, InvalidDag)]:
        raise InvalidDag("\n".join(map(str, errors)))
    return [dag for dag in read.values() if isinstance(dag, DagFile)]


def read_each(
    files: Sequence[Path], complete: Callable[[DagFile], DagFile] = lambda dag: dag
) -> Iterator[tuple[Path, DagFile | InvalidDag]]:
    """Each file with its DAG, completed, or with its error."""
    names = set()
    for file in files:
        try:
            dag = complete(read_dag(file))
        except InvalidDag as error:
            yield file, error
            continue
        if dag.dag in names:
            yield file, InvalidDag(f"{file}: an earlier file defines DAG {dag.dag!r} as well")
        else:
            yield file, dag
        names.add(dag.dag)


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
