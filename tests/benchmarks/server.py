"""The server shared by all figures of a run; each figure uses a fresh database."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.store.database import Database
from tests.support.databases import fresh_database, migrated_template
from tests.support.servers import postgres_server


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL and the name of a migrated database."""

    url: str
    template: str

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """A fresh database with the whole schema."""
        with fresh_database(self.url, self.template) as url:
            async with await Database.open(url) as database:
                yield database


@contextmanager
def server() -> Iterator[Server]:
    """Start a dedicated server, as in the tests."""
    with TemporaryDirectory(prefix="knockon-bench-", ignore_cleanup_errors=True) as made:
        home = Path(made)
        home.chmod(0o755)  # the server may run as another user than root
        with (
            postgres_server(home / "cache", home / "data") as url,
            migrated_template(url) as template,
        ):
            yield Server(url, template)
