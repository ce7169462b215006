"""Writers neither wait for Knockon nor fail because of it."""

import asyncio

from consumers.postgres.log import START, read_page, register, trim
from tests.integration.consumers.postgres.conftest import PATIENCE_SECONDS, TENANT

ORIGIN = {"origin": {"dynamic": True}}


async def test_a_writer_waits_neither_for_trimming_nor_for_a_reader(source, connect):
    await source.run("CREATE TABLE t (id int PRIMARY KEY, origin text)")
    await source.attach("t", ORIGIN)
    await source.run("INSERT INTO t VALUES (1, 'JFK')")
    page = await read_page(source.connection, START, TENANT.org, None, 10)
    await register(source.connection, TENANT, page.position)

    trimming, listening, registering = await connect(), await connect(), await connect()
    assert await trim(trimming) == 1
    await listening.execute("LISTEN knockon_changes")
    await listening.commit()
    assert len((await read_page(listening, START, TENANT.org, None, 10)).changes) == 1
    await register(registering, TENANT, page.position)  # all three are now inside transactions

    warnings = []
    source.connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await source.run(
            "INSERT INTO t VALUES (2, 'EWR')",
            "UPDATE t SET origin = 'LGA' WHERE id = 2",
            "DELETE FROM t WHERE id = 2",
            "TRUNCATE t",
        )
    rows = await source.rows("SELECT kind FROM knockon_source.changes WHERE id > 1 ORDER BY id")
    assert [row.kind for row in rows] == ["insert", "update", "delete", "truncate"]
    assert warnings == []
    await trimming.commit()
