"""Column lineage out of a SELECT: which input columns each output column is made from.

Names are resolved here by Postgres's own rules; sqlglot is the parser and nothing more. Its
optimizer resolves an alias before a column of that name, and leaves out what only filters or joins.
"""

from engine.lineage.sql.derive import Derived, derive
from engine.lineage.sql.functions import NOTHING_DEFINED, UserDefined
from engine.lineage.sql.passes import passes
from engine.lineage.sql.relation import Read, Reads, Relation

__all__ = [
    "NOTHING_DEFINED",
    "Derived",
    "Read",
    "Reads",
    "Relation",
    "UserDefined",
    "derive",
    "passes",
]
