"""The private engine started by `make containers`, if any."""

import pytest

from tests.containers.docker import ENGINE, PrivateEngine


@pytest.fixture
def private_engine(pytestconfig: pytest.Config) -> PrivateEngine:
    engine = pytestconfig.stash.get(ENGINE, None)
    if engine is None:
        pytest.skip("this Docker engine is not ours to be killed")
    return engine
