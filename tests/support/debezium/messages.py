"""The messages written by `record`."""

from functools import cache
from pathlib import Path

import msgspec

HERE = Path(__file__).parent


class Message(msgspec.Struct, frozen=True):
    """``key`` and ``value`` are JSON text; the value of a tombstone is None."""

    topic: str
    key: str | None
    value: str | None

    @property
    def payload(self) -> bytes | None:
        return None if self.value is None else self.value.encode()


@cache
def messages(name: str, table: str | None = None) -> tuple[Message, ...]:
    """The changes in a recording without the snapshot, optionally of one table only."""
    lines = (HERE / f"{name}.jsonl").read_bytes().splitlines()
    found = (msgspec.json.decode(line, type=Message) for line in lines)
    return tuple(each for each in found if table is None or each.topic == f"shop.public.{table}")
