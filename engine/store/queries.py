"""SQL statements loaded from files: `query("tasks.claim")` is `claim` in `tasks.sql`.

In a file each statement follows a line `-- :name claim` and comment lines with its description.
Parameters use psycopg's named style: `%(org_id)s`.
"""

import re
from functools import cache
from pathlib import Path

import engine
from engine.errors import InvalidInput, UnknownName

_NAME = re.compile(r"^-- :name +(\w+) *$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)


def query(name: str) -> str:
    """Return the statement `<file stem>.<name>`. Raises UnknownName."""
    try:
        return _queries()[name]
    except KeyError:
        raise UnknownName(f"no statement {name!r} in {sql_dir() / 'queries'}: add it") from None


def sql_dir() -> Path:
    """Return the directory of SQL files: beside the package in a source tree, else inside it."""
    package = Path(engine.__file__).parent
    source = package.parent / "sql"
    return source if (source / "queries").is_dir() else package / "_sql"


def load_queries(directory: Path) -> dict[str, str]:
    """Read every `*.sql` of a directory. Raises InvalidInput for a bad or repeated name."""
    queries: dict[str, str] = {}
    for path in sorted(directory.glob("*.sql")):
        for name, statement in _statements(path):
            if name in queries:
                raise InvalidInput(f"statement {name} is twice in {path}: rename one of them")
            queries[name] = statement
    return queries


@cache
def _queries() -> dict[str, str]:
    return load_queries(sql_dir() / "queries")


def _statements(path: Path) -> list[tuple[str, str]]:
    head, *parts = _NAME.split(path.read_text(encoding="utf-8"))
    if _bare(head):
        raise InvalidInput(f"SQL before the first '-- :name' line in {path}: name it")
    names = [f"{path.stem}.{name}" for name in parts[::2]]
    return [
        (name, _labelled(name, text, path)) for name, text in zip(names, parts[1::2], strict=True)
    ]


def _labelled(name: str, text: str, path: Path) -> str:
    """Prefix a statement with its name, to identify it in pg_stat_activity and server logs."""
    statement = _bare(text)
    if not statement:
        raise InvalidInput(f"statement {name} in {path} is empty: write or remove it")
    return f"/* {name} */ {statement}"


def _bare(text: str) -> str:
    """Strip comment lines, in which psycopg would parse a percent sign as a parameter."""
    return _COMMENT.sub("", text).strip().removesuffix(";")
