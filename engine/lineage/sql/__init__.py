"""Column lineage of a SELECT: the input columns from which each output column is built.

Names are resolved here by Postgres's rules, and sqlglot serves only as the parser: its optimizer
resolves an alias before a column of the same name, and omits columns used only in filters or joins.
"""

from engine.lineage.sql.derive import Derived, derive, find_query_problem
from engine.lineage.sql.functions import NOTHING_DEFINED, UserDefined
from engine.lineage.sql.preserved import preserved_columns
from engine.lineage.sql.relation import Read, Reads, Relation

__all__ = [
    "NOTHING_DEFINED",
    "Derived",
    "Read",
    "Reads",
    "Relation",
    "UserDefined",
    "derive",
    "find_query_problem",
    "preserved_columns",
]
