"""Random SELECTs with arrays, documents, texts, dates and ranges, and most of PostgreSQL's syntax.

The structure comes from `queries.Writer`, whose columns are integers. Every table has further
columns of other types under distinct names, from which the queries compute integers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.queries import TABLES as INTEGERS
from tests.support.queries import Level, Writer

_TYPES = {"arr": "integer[]", "doc": "jsonb", "txt": "text", "day": "date"}
TABLES = {
    table: {**columns, **{f"{table}_{name}": kind for name, kind in _TYPES.items()}}
    for table, columns in INTEGERS.items()
}
_PARTS = {"A": "arr", "D": "doc", "T": "txt", "Y": "day"}
_CONSTANTS = {
    "A": "('{1,2}'::int[])", "D": """('{"b": "y"}'::jsonb)""", "T": "'AB'",
    "Y": "date '2001-02-01'",
}  # fmt: skip
_PART = re.compile(r"\{([ADTYIRC]|alias)\}")
_SCALARS = (
    "cardinality({A}[:{I}])", "cardinality({A}[{I}:])", "cardinality({A}[: {I} + 1])", "{A}[{I}]",
    "({A}[{I}:])[1]", "cardinality({A}[{I}:][:{I}])", "array_position({A}, {I})",
    "cardinality({A} || {I})", "({I} = ANY ({A}))::int", "({I} <> ALL ({A}))::int",
    "({A}).cardinality", "(SELECT max(e) FROM unnest({A}) AS e)", "({A} && ARRAY[{I}, {I}])::int",
    "(SELECT sum(e * n) FROM unnest({A}) WITH ORDINALITY AS r (e, n))", "ascii({T})",
    "({T}).length",
    "length({T} || {I})", "ascii(substring({T} FROM {I} FOR 1))", "position({T} IN {T})",
    "length(trim(BOTH 'A' FROM {T}))", "ascii(overlay({T} PLACING {T} FROM 1 FOR 1))",
    "regexp_count({T}, 'A')", "({T} LIKE 'A%')::int", "({T} ~* 'b')::int", "({T} < {T})::int",
    "({T} COLLATE \"C\" >= {T})::int", "({T} IS DISTINCT FROM {T})::int",
    "length(repeat({T}, {I}))",
    "length({D}->>'b')", "length({D} #>> '{a,0}')", "({D} ? 'c')::int", "({D} ? {T})::int",
    "(SELECT count(*) FROM jsonb_object_keys({D}))::int", "({D} @> '{\"c\": 2}')::int",
    "(SELECT count(*) FROM jsonb_each({D}) AS e (k, v) WHERE e.k > {T})::int",
    "length(jsonb_typeof({D} -> 'a'))", "({D} -> {T} IS NULL)::int", "extract(day FROM {Y})::int",
    "date_part('month', {Y})::int", "({Y} - date '2001-01-01')", "({Y} > {Y} + {I})::int",
    "extract(month FROM {Y} + interval '1 month')::int", "length(to_char({Y}, 'FMDay'))",
    "(({Y}, {Y}) OVERLAPS ({Y}, {Y}))::int", "coalesce({I}, {I})", "greatest({I}, {I}, {I})",
    "nullif({I}, {I})", "abs({I})", "mod({I}, 7)", "{I} # {I}", "({I} & {I})", "(- {I})",
    "width_bucket({I}, 0, 10, 5)", "({I} BETWEEN SYMMETRIC {I} AND {I})::int",
    "num_nulls({I}, {T})",
    "({I} NOT IN ({I}, {I}))::int", "(ROW({I}, {I}) < ROW({I}, {I}))::int",
    "(({I}, {I}) = ({I}, {I}))::int", "CAST({I} IS NULL AS integer)", "({I} ISNULL)::int",
    "(int4range(least({I}, {I}), greatest({I}, {I})) @> {I})::int",
    "lower(int4range(least({I}, {I}), greatest({I}, {I})))", "CASE {I} WHEN {I} THEN {I} END",
    "length(row_to_json({R})::text)", "num_nonnulls({R}.*)", "length({R}::text)",
    "cardinality(ARRAY(SELECT {I} UNION SELECT {I}))", "length(concat_ws(',', {T}, {I}))",
    "(SELECT m FROM (VALUES ({I}, {I})) AS v (l, m))", "length(format('%s-%s', {I}, {T}))",
    "({R}).{C}", "(SELECT count(DISTINCT e) FROM generate_series({I}, {I}) AS e)::int",
)  # fmt: skip
_AGGREGATES = (
    "sum({I})", "count({I})", "max({I})", "count(*)", "count(DISTINCT {I})", "bit_xor({I})",
    "count(*) FILTER (WHERE {T} > 'B')", "length(string_agg({T}, ',' ORDER BY {T}))",
    "percentile_disc(0.5) WITHIN GROUP (ORDER BY {I})", "bool_or({A}[:{I}] = '{1}')::int",
    "cardinality(array_agg({I} ORDER BY {I}))", "max(cardinality({A}[:{I}]))", "min({I})",
    "sum({I} + {I}) FILTER (WHERE {I} > 2)",
    "mode() WITHIN GROUP (ORDER BY {I})", "regr_count({I}, {I})", "({I}).sum", "any_value({I})",
    "length(json_agg_strict({I})::text)",
)  # fmt: skip
_WINDOWS = (
    "rank() OVER (PARTITION BY {A}[:{I}] ORDER BY {I})", "dense_rank() OVER (ORDER BY {T})",
    "sum({I}) OVER (ORDER BY {I} RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
    "count(*) OVER (ORDER BY {I} GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "max({I}) OVER (PARTITION BY {I})", "count({I}) FILTER (WHERE {I} > 3) OVER (ORDER BY {I})",
    "sum({I}) OVER (PARTITION BY {T} ORDER BY {Y} RANGE UNBOUNDED PRECEDING EXCLUDE TIES)",
    "row_number() OVER ()", "sum({I}) OVER (ORDER BY {D})",
)  # fmt: skip
_SETS = (
    "generate_series(1, least({I}, 3))", "unnest({A})", "unnest({A}[:{I}])", "({A}).unnest",
    "1 + unnest({A})", "length(jsonb_object_keys({D}))", "ascii(regexp_split_to_table({T}, 'B'))",
)  # fmt: skip
_ITEMS = (
    "unnest({A}) AS {alias} (x)", "generate_series(1, least({I}, 3)) AS {alias} (y)",
    "LATERAL (VALUES ({I}, {I}), ({I}, 2)) AS {alias} (x, k)",
    "LATERAL (SELECT {I} AS x, {A}[:{I}] AS y_) AS {alias}",
    "unnest({A}[{I}:]) WITH ORDINALITY AS {alias} (x, y)",
)  # fmt: skip


@dataclass
class TypedWriter(Writer):
    """Generator of a single query."""

    def _filled(self, template: str, scope: list[Level], depth: int = 0, **more: str) -> str:
        """Fill in a template; repeated placeholders get different parts."""

        def part(match: re.Match[str]) -> str:
            key = match[1]
            if key in _PARTS:
                return self._typed(key, scope)
            if key == "I":
                return super(TypedWriter, self)._value(scope, depth) if any(scope[-1:]) else "2"
            alias, columns = self.random.choice(next(filter(None, scope[-1:]), [("t", ["id"])]))
            return {"R": alias, "C": self.random.choice(columns), **more}[key]

        return _PART.sub(part, template)

    def _typed(self, key: str, scope: list[Level]) -> str:
        """A column of a table in scope, or a constant if there is none."""
        level = scope[-1] if scope and self.random.random() < 0.85 else self._outer(scope)
        tables = {tuple(columns): table for table, columns in INTEGERS.items()}
        places = [(alias, tables[tuple(c)]) for alias, c in level if tuple(c) in tables]
        if not places:
            return _CONSTANTS[key]
        alias, table = self.random.choice(places)
        column = f"{table}_{_PARTS[key]}"
        return column if self.random.random() < 0.2 else f"{alias}.{column}"

    def _outer(self, scope: list[Level]) -> Level:
        return self.random.choice(scope) if scope else []

    def _value(self, scope: list[Level], depth: int) -> str:
        if self.random.random() < 0.35:
            return self._filled(self.random.choice(_SCALARS), scope)
        if depth >= 2 and self.random.random() < 0.15:
            return self._filled(self.random.choice(_SETS), scope)
        return super()._value(scope, depth)

    def _aggregate(self, scope: list[Level]) -> str:
        return self._filled(self.random.choice(_AGGREGATES), scope, 1)

    def _window(self, scope: list[Level]) -> str:
        if self.random.random() > 0.2:
            return ""
        return self._filled(self.random.choice(_WINDOWS), scope)

    def _table(self, outer: list[Level], level: Level, depth: int) -> tuple[str, str, list[str]]:
        alias = self.random.choice([n for n in ("p", "q", "r", "s") if n not in dict(level)])
        if level and self.random.random() < 0.12:
            text = self._filled(self.random.choice(_ITEMS), [*outer, level], alias=alias)
            return text, alias, ["x"]
        if depth > 0 and self.random.random() < 0.1:
            left, right = self.random.sample(sorted(INTEGERS), 2)
            names = [*INTEGERS[left], *INTEGERS[right]]
            unique = [c for c in dict.fromkeys(names) if names.count(c) == 1]
            hidden = self.random.choice(("a", "q", "t", "s"))
            return f"({left} AS {hidden} CROSS JOIN {right} AS o) AS {alias}", alias, unique
        return super()._table(outer, level, depth)

    def _plain(self, columns: list[str], tables: str, scope: list[Level], depth: int) -> str:
        text = super()._plain(columns, tables, scope, depth)
        if text.endswith("LIMIT 3") and self.random.random() < 0.4:
            return f"{text.removesuffix('LIMIT 3')}FETCH FIRST 3 ROWS WITH TIES"
        return text
