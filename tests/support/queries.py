"""Random SELECTs over three small tables with shared column names.

Few names are in use, so that aliases hide columns, inner tables hide outer tables, and WITH queries
hide tables. Some texts are invalid SQL; the database decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

TABLES = {
    "t": dict.fromkeys(("id", "k", "a", "b"), "integer"),
    "u": dict.fromkeys(("id", "k", "a", "x"), "integer"),
    "v": dict.fromkeys(("x", "y", "z", "b"), "integer"),
}
_NAMES = ("a", "b", "k", "x", "y", "z", "id")
_AGGREGATES = "sum({})", "count({})", "max({})", "count(*)", "count(*) FILTER (WHERE {} > 3)"
_WINDOWS = "rank()", "dense_rank()", "sum({})", "count(*)"

Level = list[tuple[str, list[str]]]
"""The tables of one FROM by alias, with their columns."""


@dataclass
class Writer:
    """Generator of a single query."""

    random: Random
    common: dict[str, list[str]] = field(default_factory=dict)

    def query(self) -> str:
        """A SELECT with the queries of its WITH clause."""
        parts = []
        for _ in range(self.random.choice((0, 0, 1, 2))):
            text, columns = self._any([], depth=2)
            name = self.random.choice(("c1", "c2", "t", "v"))
            if name not in self.common:
                parts.append(f"{name} AS {self._maybe(0.5, 'MATERIALIZED ')}({text})")
                self.common[name] = columns
        text, _ = self._any([], depth=3)
        return f"WITH {', '.join(parts)} {text}" if parts else text

    def _maybe(self, chance: float, text: str) -> str:
        return text if self.random.random() < chance else ""

    def _any(self, outer: list[Level], depth: int, width: int = 0) -> tuple[str, list[str]]:
        if depth > 0 and self.random.random() < 0.15:
            width = width or self.random.randint(1, 2)
            left, columns = self._select(outer, depth - 1, width)
            right, _ = self._select(outer, depth - 1, width)
            how = self.random.choice(("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"))
            return f"({left}) {how} ({right})", columns
        return self._select(outer, depth, width)

    def _select(self, outer: list[Level], depth: int, width: int = 0) -> tuple[str, list[str]]:
        tables, level = self._from(outer, depth)
        scope = [*outer, level]
        where = f" WHERE {self._condition(scope, depth)}" if self.random.random() < 0.5 else ""
        if not width and self.random.random() < 0.15:
            items, columns = self._star(level)
            return f"SELECT {self._maybe(0.2, 'DISTINCT ')}{items} FROM {tables}{where}", columns
        columns = self.random.sample(_NAMES, width or self.random.randint(1, 3))
        if self.random.random() < 0.3:
            return self._grouped(columns, tables + where, scope), columns
        return self._plain(columns, tables + where, scope, depth), columns

    def _star(self, level: Level) -> tuple[str, list[str]]:
        if self.random.random() < 0.5:
            return "*", [column for _, columns in level for column in columns]
        alias, columns = self.random.choice(level)
        return f"{alias}.*", columns

    def _plain(self, columns: list[str], tables: str, scope: list[Level], depth: int) -> str:
        values = [self._window(scope) or self._value(scope, depth) for _ in columns]
        items = ", ".join(f"{v} AS {c}" for v, c in zip(values, columns, strict=True))
        every = ", ".join(str(n) for n in range(1, len(columns) + 1))
        key = self.random.choice((*columns, self._name(scope)))
        tail = self.random.choice(("", "", "", "distinct", "distinct on", "limit"))
        if tail == "distinct on":
            key = self.random.choice(columns)
            return f"SELECT DISTINCT ON ({key}) {items} FROM {tables} ORDER BY {key}, {every}"
        if tail == "limit":
            return f"SELECT {items} FROM {tables} ORDER BY {key}, {every} LIMIT 3"
        return f"SELECT {tail} {items} FROM {tables}"

    def _grouped(self, columns: list[str], tables: str, scope: list[Level]) -> str:
        keys = [self._value(scope, 1) for _ in range(self.random.randint(0, len(columns)))]
        values = [*keys, *(self._aggregate(scope) for _ in columns[len(keys) :])]
        items = ", ".join(f"{v} AS {c}" for v, c in zip(values, columns, strict=True))
        text = f"SELECT {items} FROM {tables}"
        if keys:
            said = self.random.choice((keys, columns, [str(n + 1) for n in range(len(keys))]))
            listed = ", ".join(said[: len(keys)])
            text += f" GROUP BY {self.random.choice((listed, listed, f'ROLLUP ({listed})'))}"
        return text + self._maybe(0.3, f" HAVING max({self._name(scope)}) > 3")

    def _from(self, outer: list[Level], depth: int) -> tuple[str, Level]:
        text, *first = self._table(outer, [], depth)
        level: Level = [(first[0], first[1])]
        for _ in range(self.random.choice((0, 0, 1, 1, 2))):
            table, alias, columns = self._table(outer, level, depth - 1)
            shared = [c for c in columns if any(c in others for _, others in level)]
            level = [*level, (alias, columns)]
            text += self._join(table, shared, [*outer, level], depth)
        return text, level

    def _join(self, table: str, shared: list[str], scope: list[Level], depth: int) -> str:
        how = self.random.choice(("comma", "using", "natural", "on", "on"))
        side = self.random.choice(("", "LEFT ", "RIGHT ", "FULL "))
        if how == "comma":
            return f", {table}"
        if how == "natural":
            return f" NATURAL {side}JOIN {table}"
        if how == "using" and shared:
            return f" {side}JOIN {table} USING ({self.random.choice(shared)})"
        return f" {self._maybe(0.5, 'LEFT ')}JOIN {table} ON {self._condition(scope, depth - 1)}"

    def _table(self, outer: list[Level], level: Level, depth: int) -> tuple[str, str, list[str]]:
        names = ("p", "q", "t", "u", "v")
        alias = self.random.choice([n for n in names if n not in dict(level)])
        if depth <= 0 or self.random.random() < 0.5:
            name = self.random.choice((*TABLES, *self.common, *self.common))
            return f"{name} AS {alias}", alias, self.common.get(name) or list(TABLES[name])
        if self.random.random() < 0.2:
            text, columns = self._any([*outer, level], depth - 1)
            return f"LATERAL ({text}) AS {alias}", alias, columns
        text, columns = self._any(outer, depth - 1)
        renamed = self.random.sample(_NAMES, self.random.choice((0, 0, 0, 1)))
        listed = f" ({', '.join(renamed)})" if renamed else ""
        return f"({text}) AS {alias}{listed}", alias, [*renamed, *columns[len(renamed) :]]

    def _name(self, scope: list[Level]) -> str:
        level = scope[-1] if self.random.random() < 0.8 else self.random.choice(scope)
        alias, columns = self.random.choice(level or scope[-1])
        column = self.random.choice(columns)
        is_shared = sum(columns.count(column) for _, columns in level or scope[-1]) > 1
        return column if self.random.random() < (0.1 if is_shared else 0.6) else f"{alias}.{column}"

    def _value(self, scope: list[Level], depth: int) -> str:
        kind = self.random.choice(("name", "name", "name", "number", "sum", "case", "query"))
        if kind == "number":
            return str(self.random.randrange(5))
        if depth <= 0 or kind == "name":
            return self._name(scope)
        if kind == "query":
            tables, level = self._from(scope, depth - 1)
            return f"(SELECT {self._aggregate([*scope, level])} FROM {tables})"
        one, other = self._value(scope, depth - 1), self._value(scope, depth - 1)
        if kind == "sum":
            return f"({one} + {other})"
        return f"CASE WHEN {self._condition(scope, depth - 1)} THEN {one} ELSE {other} END"

    def _aggregate(self, scope: list[Level]) -> str:
        return self.random.choice(_AGGREGATES).format(self._value(scope, 1))

    def _window(self, scope: list[Level]) -> str:
        if self.random.random() > 0.2:
            return ""
        function = self.random.choice(_WINDOWS).format(self._name(scope))
        partition = self._maybe(0.6, f"PARTITION BY {self._name(scope)} ")
        return f"{function} OVER ({partition}{self._maybe(0.7, f'ORDER BY {self._name(scope)}')})"

    def _condition(self, scope: list[Level], depth: int) -> str:
        kind = self.random.choice(("than", "than", "null", "exists", "in")) if depth > 0 else "than"
        if kind == "exists":
            return f"{self._maybe(0.5, 'NOT ')}EXISTS ({self._any(scope, depth - 1)[0]})"
        if kind == "in":
            return f"{self._name(scope)} IN ({self._any(scope, depth - 1, width=1)[0]})"
        if kind == "null":
            return f"{self._name(scope)} IS NULL"
        than = self.random.choice(("<", ">", "=", "<>"))
        return f"{self._value(scope, min(depth, 1))} {than} {self._value(scope, min(depth, 1))}"
