"""Operations raise errors of the service for errors of the database."""

import pytest

from engine.errors import ServiceUnavailable
from engine.service.caller import Caller
from engine.service.commands.orgs import set_blast_radius
from engine.service.queries.status import status
from engine.service.service import Service
from engine.store.database import Database


async def test_queries_and_commands_report_errors_of_the_database(database: Database) -> None:
    service = Service(database)
    caller = Caller.local(await service.org("default", create=True))
    async with database.connection() as conn:
        await conn.execute("ALTER TABLE knockon.orgs RENAME TO moved")
        await conn.execute("ALTER TABLE knockon.tasks RENAME TO moved_too")
    for operation in (status(caller, service), set_blast_radius(caller, service, 3)):
        with pytest.raises(ServiceUnavailable, match=r"database error: .* does not exist"):
            await operation
