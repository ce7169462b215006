"""Fixtures for tests of the database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.embedded.postgres import EmbeddedPostgres, copy_template


@pytest.fixture
def server(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A dedicated server for stops and starts."""
    copy_template(pytestconfig.cache.mkdir("postgres"), tmp_path / "pg")
    with EmbeddedPostgres(tmp_path / "pg", durable=False) as server:
        yield server
