"""Hashes of a python job's code: the job's module and its imports from the same project.

Modules are located like an import would locate them, and parsed, but neither imported nor run. The
standard library, Knockon, and installed packages other than the job's are not part of the project.
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
"""Hashes of modules as this process has imported them, even if the files have changed since."""


@dataclass(frozen=True, slots=True)
class _Module:
    """A module; namespace packages have no ``file``, and ``paths`` hold a package's submodules."""

    name: str
    file: Path | None
    paths: tuple[str, ...] | None

    @property
    def package(self) -> str:
        """Package against which relative imports are resolved."""
        return self.name if self.paths is not None else self.name.rpartition(".")[0]


def project_code(name: str) -> dict[str, str]:
    """Return the hashes of a module and of its imports from the same project, by name.

    Raises InvalidInput if the module does not exist or has too many imports.
    """
    finder = _Finder()
    if name.partition(".")[0] in sys.stdlib_module_names:
        return {}
    if finder.find(name) is None:
        raise InvalidInput(
            f"there is no module {name!r} here: install it, add its directory to "
            "KNOCKON_CODE_PATH, or correct the name"
        )
    hashes: dict[str, str] = {}
    visited, pending = set[str](), {name, *_parents(name)}
    while pending:
        visited |= pending
        own = [module for other in pending if (module := _own(finder, other, name)) is not None]
        hashes |= {module.name: _hash(module.name, module.file) for module in own if module.file}
        if len(hashes) > _MOST:
            raise InvalidInput(
                f"module {name!r} imports more than {_MOST:,} modules of its project: import fewer"
            )
        pending = {imported for module in own for imported in _imports(module)} - visited
    return hashes


def check_project_code(code: Mapping[str, str]) -> None:
    """Raise InvalidInput if modules differ from the deployed ones."""
    finder = _Finder()
    differences = [
        difference
        for name, deployed in sorted(code.items())
        if (difference := _difference(finder, name, deployed))
    ]
    if differences:
        omitted = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise InvalidInput(
            f"the code of this worker differs from the deployed code: {', '.join(differences[:5])}"
            f"{omitted}; install the deployed code and restart the worker, or deploy the DAG again "
            "with this code; then retry the task"
        )


def _difference(finder: "_Finder", name: str, deployed: str) -> str | None:
    module = finder.find(name)
    if module is None or module.file is None:
        return f"module {name} is missing (KNOCKON_CODE_PATH lists further directories)"
    local = _hash(name, module.file)
    return None if local == deployed else f"module {name} is {local}, not {deployed}"


class _Finder:
    """Locates modules, and caches the results."""

    def __init__(self) -> None:
        self._modules: dict[str, _Module | None] = {}

    def find(self, name: str) -> _Module | None:
        """Return the module that an import of the name would load, or None if none has a file."""
        if name not in self._modules:
            self._modules[name] = self._search(name)
        return self._modules[name]

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
    """Search the finders of editable installs."""
    for finder in sys.meta_path:
        if finder is PathFinder or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, None)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            paths = spec.submodule_search_locations
            return _Module(name, Path(spec.origin), tuple(paths) if paths is not None else None)
    return None


def _own(finder: _Finder, name: str, root: str) -> _Module | None:
    """Return the module if it belongs to the same project as the module ``root``."""
    top, root_top = name.partition(".")[0], root.partition(".")[0]
    if top != root_top and (top in sys.stdlib_module_names or top in _KNOCKON):
        return None
    module = finder.find(name)
    if module is None or top == root_top or module.file is None:
        return module
    return None if _INSTALLED.intersection(module.file.parts) else module


def _parents(name: str) -> Iterator[str]:
    """Yield the packages that an import of the module loads first."""
    while name := name.rpartition(".")[0]:
        yield name


def _imports(module: _Module) -> Iterator[str]:
    """Yield names that the module may import; some are attributes, which have no file."""
    if module.file is None:
        return
    try:
        tree = ast.parse(module.file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        for name in _imported_names(node, module.package):
            yield name
            yield from _parents(name)


def _imported_names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, package)
        if base:
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _hash(name: str, file: Path) -> str:
    """Hash a file; for a module imported by this process, return the hash computed first."""
    if name not in _loaded or name not in sys.modules:
        source = _normalized(file.read_bytes())
        _loaded[name] = sha256(source.encode(errors="surrogateescape")).hexdigest()[:16]
    return _loaded[name]


def _normalized(content: bytes) -> str:
    """Remove comments, and blank lines outside of strings."""
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
