"""Migration files: `sql/migrations/NNNN_name.sql`, with directives in the comment at the top.

    -- knockon: outside transaction
    -- knockon: oldest code 0012
    -- knockon: locks knockon.tasks ACCESS EXCLUSIVE

The number of the code is the number of the newest migration that it ships.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from engine.errors import InvalidInput
from engine.store.queries import sql_dir

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_DIRECTIVE = re.compile(r"--\s*knockon:\s*(.*?)\s*")
_OUTSIDE = re.compile(r"outside transaction")
_OLDEST_CODE = re.compile(r"oldest code (\d{4})")
_LOCK = re.compile(
    r"locks (\w+\.\w+) ((?:ACCESS|ROW) (?:SHARE|EXCLUSIVE)"
    r"|SHARE(?: UPDATE EXCLUSIVE| ROW EXCLUSIVE)?|EXCLUSIVE)"
)
_CREATES_INDEX = re.compile(r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\b", re.IGNORECASE)
_REPEATABLE_INDEX = re.compile(
    _CREATES_INDEX.pattern + r"\s+IF\s+NOT\s+EXISTS\s+(\w+)\s+ON\s+(?:ONLY\s+)?(\w+)\.(\w+)",
    re.IGNORECASE,
)
_CONCURRENTLY = re.compile(r"\bCONCURRENTLY\b", re.IGNORECASE)
_COMMENT = re.compile(r"--.*")


@dataclass(frozen=True)
class TableLock:
    """A lock on an existing table, held until the end of the migration's transaction."""

    table: str
    mode: str


@dataclass(frozen=True)
class ConcurrentIndex:
    """The index that a migration builds with CREATE INDEX CONCURRENTLY."""

    name: str
    schema: str
    table: str


@dataclass(frozen=True)
class Migration:
    """A migration file; see the module for ``in_transaction``, ``oldest_code`` and ``locks``."""

    version: int
    name: str
    sql: str
    in_transaction: bool = True
    oldest_code: int | None = None
    locks: tuple[TableLock, ...] = ()
    index: ConcurrentIndex | None = None

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the text, compared to detect changes of the file after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def is_concurrent(self) -> bool:
        """True if the statement waits for other transactions without blocking any."""
        return not self.in_transaction and bool(_CONCURRENTLY.search(_COMMENT.sub("", self.sql)))

    @property
    def entry(self) -> dict[str, object]:
        """The parameters of the statements that announce or record the migration."""
        return {
            "version": self.version,
            "migration": self.name,
            "checksum": self.checksum,
            "oldest_code": self.oldest_code,
        }

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


@cache
def shipped_migrations() -> tuple[Migration, ...]:
    """Return the migrations of this code in order.

    Cached, because an upgrade replaces the files while older processes are still running.
    """
    return tuple(read_migrations(migrations_dir()))


def code_number() -> int:
    """Return the number of this code: that of the newest migration that it ships."""
    return shipped_migrations()[-1].version


def migrations_dir() -> Path:
    """Return the directory of the project's migrations."""
    return sql_dir() / "migrations"


def read_migrations(directory: Path) -> list[Migration]:
    """Read a directory's migrations in order.

    Raises InvalidInput for a bad or repeated number, or a bad directive.
    """
    migrations = [_read(path) for path in sorted(directory.glob("*.sql"))]
    if len({migration.version for migration in migrations}) < len(migrations):
        raise InvalidInput(f"two migrations in {directory} have one number: renumber the newer")
    return migrations


def _read(path: Path) -> Migration:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise InvalidInput(f"{path} is no migration's name: call it like 0001_schema.sql")
    text = path.read_text(encoding="utf-8")
    migration = Migration(int(match[1]), match[2], text, **_directives(path, text))
    if migration.oldest_code is not None and migration.oldest_code > migration.version:
        raise InvalidInput(
            f"{path} requires code newer than itself: require {migration.version:04} at most"
        )
    return migration


def _directives(path: Path, text: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    locks: list[TableLock] = []
    for directive in _header(path, text):
        if _OUTSIDE.fullmatch(directive):
            index = _index(path, text)
            settings |= {"in_transaction": False, "index": index}
            if index is not None:
                locks.append(TableLock(f"{index.schema}.{index.table}", "SHARE UPDATE EXCLUSIVE"))
        elif code := _OLDEST_CODE.fullmatch(directive):
            settings["oldest_code"] = int(code[1])
        elif lock := _LOCK.fullmatch(directive):
            locks.append(TableLock(lock[1], lock[2]))
        else:
            raise InvalidInput(
                f"{path} has an unknown directive {directive!r}: write 'outside transaction', "
                "'oldest code NNNN' or 'locks SCHEMA.TABLE MODE'"
            )
    return {**settings, "locks": tuple(locks)}


def _header(path: Path, text: str) -> Iterator[str]:
    """Yield the directives in the comment lines at the top of a file. Raises InvalidInput."""
    is_header = True
    for line in text.splitlines():
        is_header = is_header and (not line.strip() or line.startswith("--"))
        if directive := _DIRECTIVE.fullmatch(line.strip()):
            if not is_header:
                raise InvalidInput(
                    f"{path} has a directive below the comment at the top, without effect: move "
                    f"{directive[1]!r} to the top"
                )
            yield directive[1]


def _index(path: Path, text: str) -> ConcurrentIndex | None:
    statement = _COMMENT.sub("", text)
    if not _CREATES_INDEX.search(statement):
        return None
    match = _REPEATABLE_INDEX.search(statement)
    if match is None:
        raise InvalidInput(
            f"{path} cannot be repeated after a crash: write CREATE INDEX CONCURRENTLY "
            "IF NOT EXISTS name ON schema.table"
        )
    return ConcurrentIndex(match[1].lower(), match[2].lower(), match[3].lower())
