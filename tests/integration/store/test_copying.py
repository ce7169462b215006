"""COPY data as read by PostgreSQL."""

from uuid import UUID, uuid4

import pytest

from engine.store.copying import int4, jsonb, texts, uuids
from engine.store.database import Database

KEYS = ["2013-02-13", 'a "b"', "a\\b", "a,b{}", "ä\t\n", ""]


@pytest.mark.parametrize("keys", [KEYS, []])
async def test_binary_values_are_read_back_unchanged(database: Database, keys: list[str]):
    ids: list[UUID] = [uuid4() for _ in keys]
    row = (
        *(ids[0].bytes if ids else None, int4(-7), jsonb(b'[{"a": 1}, null]')),
        *(texts(keys), uuids(each.bytes for each in ids)),
    )

    async with database.transaction() as connection:
        await connection.execute("CREATE TEMP TABLE c (i uuid, n int, j jsonb, t text[], u uuid[])")
        async with (
            connection.cursor() as cursor,
            cursor.copy("COPY c FROM STDIN (FORMAT binary)") as copy,
        ):
            await copy.write_row(row)
        read = await (await connection.execute("SELECT * FROM c")).fetchone()

    first = ids[0] if ids else None
    assert read == {"i": first, "n": -7, "j": [{"a": 1}, None], "t": keys, "u": ids}
