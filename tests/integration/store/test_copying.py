"""COPY data as read by PostgreSQL."""

from uuid import UUID, uuid4

import pytest

from engine.store.copying import NULL, boolean, encoded, int4, jsonb, text, texts, uuid, uuids
from engine.store.database import Database

ROWS = 1_100
KEYS = ["2013-02-13", 'a "b"', "a\\b", "a,b{}", "ä\t\n", ""]


@pytest.mark.parametrize("keys", [KEYS, []])
async def test_binary_values_are_read_back_unchanged(database: Database, keys: list[str]):
    ids: list[UUID] = [uuid4() for _ in keys]
    row = (
        *(uuid(ids[0].bytes) if ids else NULL, int4(-7), jsonb(b'[{"a": 1}, null]')),
        *(text("".join(keys)), boolean(bool(keys))),
        *(texts(keys), uuids(each.bytes for each in ids)),
    )
    columns = "i uuid, n int, j jsonb, w text, b bool, t text[], u uuid[]"

    async with database.transaction() as connection:
        await connection.execute(f"CREATE TEMP TABLE c ({columns})".encode())
        async with (
            connection.cursor() as cursor,
            cursor.copy("COPY c FROM STDIN (FORMAT binary)") as copy,
        ):
            for part in encoded([row] * ROWS):
                await copy.write(part)
        read = await (await connection.execute("SELECT DISTINCT * FROM c")).fetchall()
        count = await (await connection.execute("SELECT count(*) AS n FROM c")).fetchone()

    first = ids[0] if ids else None
    value = {"i": first, "n": -7, "j": [{"a": 1}, None], "w": "".join(keys), "b": bool(keys)}
    assert read == [{**value, "t": keys, "u": ids}]
    assert count == {"n": ROWS}
