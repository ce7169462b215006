"""Metadata of the provider is fetched rarely, and outlives an outage for a day."""

import asyncio

import pytest
from joserfc.jwk import RSAKey

from engine.errors import ServiceUnavailable
from engine.oidc.cache import ATTEMPT_SECONDS, LONGEST_SECONDS, REFRESH_SECONDS, MetadataCache
from engine.oidc.metadata import Metadata

KEY = RSAKey.generate_key(2048)


class Provider:
    """A provider, with a clock; ``keys`` are the ids published."""

    def __init__(self) -> None:
        self.keys = ["1"]
        self.is_down = False
        self.fetches = 0
        self.time = 1_000.0
        self.cache = MetadataCache(self._fetch, lambda: self.time)

    async def _fetch(self) -> Metadata:
        self.fetches += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise ServiceUnavailable("down")
        return Metadata("a", "t", dict.fromkeys(self.keys, KEY))


@pytest.fixture
def provider() -> Provider:
    return Provider()


async def test_requests_at_once_cause_one_fetch(provider: Provider) -> None:
    found = await asyncio.gather(*(provider.cache.key("1") for _ in range(50)))
    assert all(key is KEY for key in found)
    assert provider.fetches == 1


async def test_random_key_ids_cause_a_bounded_number_of_fetches(provider: Provider) -> None:
    for number in range(200):
        assert await provider.cache.key(f"random {number}") is None
        provider.time += 0.1
    assert provider.fetches == 1 + 20 // ATTEMPT_SECONDS


async def test_a_new_key_is_found(provider: Provider) -> None:
    assert await provider.cache.key("1")
    provider.keys = ["2"]
    provider.time += ATTEMPT_SECONDS
    assert await provider.cache.key("2")
    assert await provider.cache.key("1") is None


async def test_metadata_is_refreshed_every_hour(provider: Provider) -> None:
    assert await provider.cache.key("1")
    provider.keys = []
    provider.time += REFRESH_SECONDS - 1
    assert await provider.cache.key("1")
    provider.time += 2
    assert await provider.cache.key("1") is None


async def test_known_keys_outlive_an_outage_for_a_day(provider: Provider) -> None:
    assert await provider.cache.key("1")
    provider.is_down = True
    for _ in range(3):
        provider.time += REFRESH_SECONDS + 1
        assert await provider.cache.key("1")
    with pytest.raises(ServiceUnavailable):
        await provider.cache.key("2")  # may be a new key
    provider.time += LONGEST_SECONDS
    with pytest.raises(ServiceUnavailable):
        await provider.cache.key("1")
    provider.is_down = False
    provider.time += ATTEMPT_SECONDS
    assert await provider.cache.key("1")


async def test_an_outage_at_the_start_is_attempted_again_later(provider: Provider) -> None:
    provider.is_down = True
    for _ in range(20):
        with pytest.raises(ServiceUnavailable):
            await provider.cache.key("1")
    assert provider.fetches == 1
    provider.is_down = False
    provider.time += ATTEMPT_SECONDS
    assert await provider.cache.key("1")
