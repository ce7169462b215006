"""Rows of `migrations.sql`."""

import msgspec


class ForeignOwner(msgspec.Struct, frozen=True):
    """The owner of the schema, if it is not Knockon's."""

    owner: str


class MigrationTables(msgspec.Struct, frozen=True):
    """The existing tables of migrations."""

    in_schema: bool
    in_public: bool


class ForeignRelation(msgspec.Struct, frozen=True):
    """A relation of another role."""

    name: str
    owner: str


class RecordedMigration(msgspec.Struct, frozen=True):
    """A migration that was applied, or announced only."""

    version: int
    checksum: str
    is_applied: bool


class CodeRequirement(msgspec.Struct, frozen=True):
    """A migration, and the oldest code that may run beside it."""

    migration: str
    oldest_code: int


class LockAttempt(msgspec.Struct, frozen=True):
    """The result of a request for the lock of migrations."""

    is_locked: bool


class OlderProcess(msgspec.Struct, frozen=True):
    """The session of a process with older code."""

    pid: int
    host: str


class LockHolder(msgspec.Struct, frozen=True):
    """A session with locks on tables of the schema, and the age of its transaction."""

    pid: int
    application: str
    seconds: float
    tables: list[str]


class InvalidIndex(msgspec.Struct, frozen=True):
    """An index whose concurrent build did not finish."""

    is_invalid: bool
