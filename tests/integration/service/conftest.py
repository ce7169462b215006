"""Every operation works with the rights of the local user, and of the restricted service."""

from collections.abc import AsyncIterator

import pytest

from engine.store.tenancy import TenantDatabase
from tests.support.worlds import World


@pytest.fixture(autouse=True, params=["local", "service"])
async def service_database(
    request: pytest.FixtureRequest, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    if request.param == "local":
        yield
        return
    async with await TenantDatabase.open(database_url) as tenants:
        monkeypatch.setattr(World, "service_database", tenants)
        yield
