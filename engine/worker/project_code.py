"""Hashes of a python job's code: its module and what that imports from its own project.

Modules are found as an import would find them, and parsed; nothing is imported or run. The standard
library, installed packages other than the job's own and Knockon itself are not the project's code.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.machinery import PathFinder
from pathlib import Path

from engine.errors import InvalidInput

_MOST = 2_000
_KNOCKON = frozenset({"engine", "consumers", "knockon"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_loaded: dict[str, str] = {}
"""Hashes of modules as this process has imported them, whatever their files say by now."""


@dataclass(frozen=True, slots=True)
class _Module:
    """A module's file; a directory without ``__init__.py`` has none. ``paths``: its submodules'."""

    name: str
    file: Path | None
    paths: tuple[str, ...] | None

    @property
    def package(self) -> str:
        """What its relative imports start from."""
        return self.name if self.paths is not None else self.name.rpartition(".")[0]


def project_code(name: str) -> dict[str, str]:
    """A hash for the module and each module that it imports from its project, by name.

    Raises InvalidInput where the module cannot be found, or imports too many.
    """
    finder = _Finder()
    if name.partition(".")[0] in sys.stdlib_module_names:
        return {}
    if finder.find(name) is None:
        raise InvalidInput(f"there is no module {name!r} here")
    found: dict[str, str] = {}
    known, new = set[str](), {name, *_parents(name)}
    while new:
        known |= new
        own = [module for each in new if (module := _own(finder, each, name)) is not None]
        found |= {each.name: _hash(each.name, each.file) for each in own if each.file}
        if len(found) > _MOST:
            raise InvalidInput(f"module {name!r} imports more than {_MOST:,} of its project")
        new = {each for module in own for each in _imports(module)} - known
    return found


def check_project_code(code: Mapping[str, str]) -> None:
    """Raise InvalidInput where modules differ here from those that were deployed."""
    finder = _Finder()
    wrong = [text for name, was in sorted(code.items()) if (text := _differs(finder, name, was))]
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise InvalidInput(
            f"this worker has other code than was deployed: {shown}; install the deployed code and "
            "restart the worker, or deploy the DAG again with this code; then retry the task"
        )


def _differs(finder: "_Finder", name: str, deployed: str) -> str | None:
    module = finder.find(name)
    if module is None or module.file is None:
        return f"module {name} is missing"
    here = _hash(name, module.file)
    return None if here == deployed else f"module {name} is {here}, not {deployed}"


class _Finder:
    """Finds modules, each once."""

    def __init__(self) -> None:
        self._known: dict[str, _Module | None] = {}

    def find(self, name: str) -> _Module | None:
        """The module of that name, as an import would find it in files; None: there is none."""
        if name not in self._known:
            self._known[name] = self._search(name)
        return self._known[name]

    def _search(self, name: str) -> _Module | None:
        parent, _, last = name.rpartition(".")
        if not last.isidentifier():
            return None
        if not parent:
            return _in_directories(name, last, sys.path) or _by_other_finders(name)
        package = self.find(parent)
        return _in_directories(name, last, (package and package.paths) or ())


def _in_directories(name: str, last: str, paths: Iterable[str]) -> _Module | None:
    portions = []
    for path in paths:
        directory = Path(path or ".") / last
        if (directory / "__init__.py").is_file():
            return _Module(name, directory / "__init__.py", (str(directory),))
        if (file := directory.with_name(f"{last}.py")).is_file():
            return _Module(name, file, None)
        if directory.is_dir():
            portions.append(str(directory))
    return _Module(name, None, tuple(portions)) if portions else None


def _by_other_finders(name: str) -> _Module | None:
    """Packages that are installed as editable have finders of their own."""
    for finder in sys.meta_path:
        if finder is PathFinder or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, None)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            paths = spec.submodule_search_locations
            return _Module(name, Path(spec.origin), tuple(paths) if paths is not None else None)
    return None


def _own(finder: _Finder, name: str, root: str) -> _Module | None:
    """The module where it belongs to the project of the ``root``."""
    top, root_top = name.partition(".")[0], root.partition(".")[0]
    if top != root_top and (top in sys.stdlib_module_names or top in _KNOCKON):
        return None
    module = finder.find(name)
    if module is None or top == root_top or module.file is None:
        return module
    return None if _INSTALLED.intersection(module.file.parts) else module


def _parents(name: str) -> Iterator[str]:
    """The packages that an import of the module runs before it."""
    while name := name.rpartition(".")[0]:
        yield name


def _imports(module: _Module) -> Iterator[str]:
    """Names of modules that it may import; some are attributes, which no file is found for."""
    if module.file is None:
        return
    try:
        tree = ast.parse(module.file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        for name in _named(node, module.package):
            yield name
            yield from _parents(name)


def _named(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, package)
        if base:
            yield base
            yield from (f"{base}.{each.name}" for each in node.names if each.name != "*")


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _hash(name: str, file: Path) -> str:
    """That of the file; of a module that this process has imported, as it was at the first look."""
    if name not in _loaded or name not in sys.modules:
        source = _normalised(file.read_bytes())
        _loaded[name] = sha256(source.encode(errors="surrogateescape")).hexdigest()[:16]
    return _loaded[name]


def _normalised(content: bytes) -> str:
    """The source without comments, and without blank lines outside of strings."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = io.TextIOWrapper(io.BytesIO(content), encoding).read()
        return "\n".join(_lines_of_code(text))
    except (tokenize.TokenError, SyntaxError, UnicodeDecodeError, LookupError):
        return content.decode(errors="surrogateescape")


def _lines_of_code(text: str) -> Iterator[str]:
    lines = text.split("\n")
    blank = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start[0] - 1, token.start[1]
        if token.type == tokenize.COMMENT:
            lines[row] = lines[row][:column]
        elif token.type in (tokenize.NL, tokenize.NEWLINE) and row < len(lines):
            lines[row] = lines[row].rstrip()
            if not lines[row]:
                blank.add(row)
    yield from (line for row, line in enumerate(lines) if row not in blank)
