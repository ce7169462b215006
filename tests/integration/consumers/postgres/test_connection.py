"""A network that goes silent between two statements to a source."""

import psycopg
import pytest

from consumers.run import has_log
from tests.support.proxy import proxy_to


@pytest.mark.parametrize("statement", [b"SET search_path", b"knockon_source.readers"])
async def test_an_unresponsive_source_times_out(database_url: str, statement: bytes) -> None:
    async with proxy_to(database_url) as proxy:
        assert not await has_log(proxy.url)
        proxy.go_dead_at(statement)
        with pytest.raises(psycopg.OperationalError):
            await has_log(proxy.url, seconds=0.2)
