"""Derivation of an output's column lineage from its SELECT."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from engine.lineage.columns import EVERY
from engine.lineage.sql.functions import NOTHING_DEFINED, UserDefined
from engine.lineage.sql.parse import check_user_defined, folded, parse
from engine.lineage.sql.query import Tracer
from engine.lineage.sql.relation import NOTHING, Read, Reads, Relation
from engine.lineage.sql.scope import Scope
from engine.lineage.sql.unresolved import NotAQuery, Unresolved


@dataclass(frozen=True, slots=True)
class Derived:
    """Columns and lineage of an output, derived from its SELECT.

    ``columns`` are the column names, None unless all are known. ``lineage`` maps each column, and
    ``*`` for reads that affect all columns, to the input columns read; None if unknown. ``named``
    are the inputs in a FROM. ``preserved_columns`` has the input columns carried by each column,
    from `preserved_columns`. ``note`` explains missing names or lineage, and ``line`` is the line
    of the SQL that it is about, if known.
    """

    columns: tuple[str, ...] | None = None
    lineage: Mapping[str, Reads] | None = None
    named: frozenset[str] = frozenset()
    preserved_columns: Mapping[str, Reads] = field(default_factory=dict)
    note: str | None = None
    line: int | None = None


def derive(
    text: str,
    inputs: Mapping[str, Relation],
    others: Mapping[str, Relation],
    user_defined: UserDefined = NOTHING_DEFINED,
) -> Derived:
    """Derive lineage from a SELECT over inputs by alias.

    ``others`` are further relations available in a FROM, without columns of inputs. Never raises:
    underivable lineage is None and counts as reading everything.
    """
    all_columns = frozenset(Read(alias, EVERY) for alias in inputs)
    try:
        parsed = parse(text)
        check_user_defined(parsed, user_defined)
        query = parsed.query
        relation = Tracer(query, all_columns, user_defined.functions).run(
            Scope({**others, **inputs})
        )
    except Unresolved as error:
        return Derived(note=f"its columns cannot be derived from the SQL: {error}", line=error.line)
    except RecursionError:
        return Derived(note="its columns cannot be derived from the SQL: it is nested too deep")
    tables = (table.this for table in query.find_all(exp.Table))
    named = frozenset(folded(name) for name in tables if isinstance(name, exp.Identifier))
    return replace(_derived(relation), named=named & inputs.keys())


def find_query_problem(text: str) -> str | None:
    """Return why a text cannot run as the SELECT of a job; None if it can, or if it is unknown."""
    try:
        parse(text)
    except NotAQuery as error:
        return str(error)
    except (Unresolved, RecursionError):
        pass
    return None


def _derived(relation: Relation) -> Derived:
    unnamed = [n for n, (name, _) in enumerate(relation.columns, 1) if name is None]
    names = tuple(dict.fromkeys(name for name, _ in relation.columns if name is not None))
    lineage = {name: relation.column(name) or NOTHING for name in names}
    shaping = relation.rows.union(*(reads for name, reads in relation.columns if name is None))
    if relation.unlisted is not None:
        note = "its column names are unknown: * stands for columns that are"
        return Derived(None, {**lineage, EVERY: shaping | relation.everything}, note=note)
    lineage[EVERY] = shaping
    if unnamed:
        note = f"its column names are unknown: name column {unnamed[0]} of the SELECT with AS"
        return Derived(None, lineage, note=note)
    return Derived(names, lineage)
