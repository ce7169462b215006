"""The directories in which modules of python jobs are found beside the installed packages."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path


def directories_of(code_path: str) -> list[Path]:
    """Split a list of directories, separated as in PYTHONPATH."""
    return [Path(directory) for directory in code_path.split(os.pathsep) if directory]


def add_code_directories(directories: Iterable[Path]) -> None:
    """Let this process import modules from directories.

    They are searched last, so that no file can replace a module of an installed package.
    """
    for directory in directories:
        absolute = str(directory.resolve())
        if absolute not in sys.path:
            sys.path.append(absolute)
