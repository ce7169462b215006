"""Rows of `code.sql`."""

import msgspec


class CodeObject(msgspec.Struct, frozen=True):
    """A function, operator or view, by its catalog and oid."""

    catalog: str
    oid: int


class Definition(msgspec.Struct, frozen=True):
    """The definition of an object; ``body`` may name further objects, as seen from ``home``."""

    catalog: str
    oid: int
    name: str
    definition: str
    body: str
    home: str
