"""SELECTs of a small grammar.

Results never depend on the order of input rows, because windows are ordered by unique ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.simulation.dimensions import Space
from tests.simulation.mapping import Read
from tests.simulation.tables.content import quoted
from tests.simulation.tables.select import FUNCTION, Select, Shape


@dataclass
class Writer:
    """Writer of a single SELECT over one or two inputs; ``salt`` varies only the constants."""

    rng: Random
    salt: int
    target: Space
    read: Read
    main: Shape
    other: Shape | None = None
    names: dict[str, set[str]] = field(default_factory=dict)
    features: set[str] = field(default_factory=set)
    only: dict[str, str] = field(default_factory=dict)
    """The only number column to read, by input."""

    def select(self, name: str) -> Select:
        """Write the SELECT of an output; every second SELECT names few columns."""
        if self.rng.random() < 0.5:
            numbered = (shape for shape in self._inputs if shape.named("number"))
            self.only = {s.name: self.rng.choice(s.named("number")) for s in numbered}
        shape, text = self.rng.choice(self._forms())(name)
        columns = [column for column, _ in shape.kinds]
        reads = {s.name: self.names.get(s.name, set()) for s in self._inputs}
        named = tuple((dataset, frozenset(columns)) for dataset, columns in reads.items())
        assert len(columns) == len(set(columns))
        return Select(text, shape, named, frozenset(self.features))

    @property
    def _inputs(self) -> list[Shape]:
        return [self.main] if self.other is None else [self.main, self.other]

    def _forms(self) -> list[Callable[[str], tuple[Shape, str]]]:
        forms = [self._projected, self._grouped, self._grouped, self._totals, self._distinct]
        if self.other is not None:
            return [self._joined, self._joined, self._united, self._grouped, self._projected]
        return [*forms, *[self._windowed] * (4 if self.main.has_ids else 0)]

    # -- forms ---------------------------------------------------------------------------------

    def _projected(self, name: str) -> tuple[Shape, str]:
        """Write a SELECT of every row of the main input, with some expressions."""
        source, where = self._from(self.main)
        items, kinds = self._items(source, self.main)
        if self.main.has_ids:
            items, kinds = [self._column(source, self.main, "id"), *items], [("id", "id"), *kinds]
        shape = Shape(name, self.target, tuple(kinds), self._keeps_ids)
        return shape, f"SELECT {', '.join(items)} FROM {where}{self._where(source)}"

    def _distinct(self, name: str) -> tuple[Shape, str]:
        self.features.add("distinct")
        source, where = self._from(self.main)
        items, kinds = self._items(source, self.main)
        shape = Shape(name, self.target, tuple(kinds))
        return shape, f"SELECT DISTINCT {', '.join(items)} FROM {where}{self._where(source)}"

    def _grouped(self, name: str) -> tuple[Shape, str]:
        self.features.add("group")
        source, where = self._from(self.main)
        named, key = self._key(source)
        items, kinds = self._aggregates(source)
        having = f" HAVING count(*) > {self.salt % 2}" if self.rng.random() < 0.3 else ""
        text = f"SELECT {key} AS {named}, {', '.join(items)} FROM {where}{self._where(source)}"
        shape = Shape(name, self.target, ((named, "text"), *kinds))
        return shape, f"{text} GROUP BY {key}{having}"

    def _key(self, source: str) -> tuple[str, str]:
        """Return the name and expression of the grouping column."""
        if self._may_return_k(self.main):
            self.features.add("k preserved")
            return "k", self._column(source, self.main, "k")
        return "g", f"CAST({self._number(source, self.main)} AS text)"

    def _may_return_k(self, shape: Shape) -> bool:
        """Return whether ``k`` may be returned: as a partition column, it equals the own key."""
        is_partition = any(d.name == "k" for d in self.target)
        return "k" in shape.named("text") and (self.read.grouped is not None or not is_partition)

    def _totals(self, name: str) -> tuple[Shape, str]:
        self.features.add("totals")
        source, where = self._from(self.main)
        items, kinds = self._aggregates(source)
        shape = Shape(name, self.target, tuple(kinds))
        return shape, f"SELECT {', '.join(items)} FROM {where}{self._where(source)}"

    @property
    def _keeps_ids(self) -> bool:
        """True if each row of the main input is in at max_numbers one output partition."""
        is_same = self.read.spec in (None, "identity") and self.main.space == self.target
        return self.main.has_ids and is_same

    def _windowed(self, name: str) -> tuple[Shape, str]:
        """Write a SELECT of every row with values of preceding rows.

        If adjacent partitions are read, only rows of the output's own partition are returned.
        """
        self.features.add("window")
        source, where = self._from(self.main)
        number = self._number(source, self.main)
        ident = self._column(source, self.main, "id")
        window = f"ORDER BY {ident}"
        if "k" in self.main.named("text") and self.rng.random() < 0.5:
            window = f"PARTITION BY {self._column(source, self.main, 'k')} {window}"
        call = self.rng.choice([f"lag({number})", f"sum({number})", "count(*)"])
        items = f"{ident} AS id, {_small(f'{call} OVER ({window})')} AS x"
        shape = Shape(name, self.target, (("id", "id"), ("x", "number")), self._keeps_ids)
        if self.read.grouped is None and self._reads_adjacent_days:
            self.features.add("window over adjacent partitions")
            inner = f"SELECT {source}.dt, {items} FROM {where}{self._where(source)}"
            own = "knockon_partition AS own ON w.dt = CAST(own.dt AS date)"
            return shape, f"SELECT w.id, w.x FROM ({inner}) AS w JOIN {own}"
        return shape, f"SELECT {items} FROM {where}{self._where(source)}"

    @property
    def _reads_adjacent_days(self) -> bool:
        return any(
            link.window is not None
            and all(
                d.grain == "day" for d in (self.main.space[link.source], self.target[link.target])
            )
            for link in self.read.links
        )

    def _joined(self, name: str) -> tuple[Shape, str]:
        self.features.add("join")
        assert self.other is not None
        kind = self.rng.choice(["JOIN", "LEFT JOIN"])
        self.features.add(kind.lower())
        left, right = "l", "r"
        items, kinds = self._items(left, self.main, max_numbers=1)
        items.append(f"{self._number(right, self.other)} AS y")
        kinds.append(("y", "number"))
        where = f"{quoted(self.main.name)} AS l {kind} {quoted(self.other.name)} AS r"
        text = f"SELECT {', '.join(items)} FROM {where} ON {self._match(left, right)}"
        return Shape(name, self.target, tuple(kinds)), text + self._where(left)

    def _match(self, left: str, right: str) -> str:
        """Join on the common partition columns, or else on the group."""
        assert self.other is not None
        mine, others = {d.name for d in self.main.space}, {d.name for d in self.other.space}
        common = sorted(mine & others)
        texts = [shape.named("text") for shape in (self.main, self.other)]
        if common:
            self.features.add("join on the partition")
        elif all("k" in names for names in texts):
            common = ["k"]
        pairs = [
            f"{self._column(left, self.main, name)} = {self._column(right, self.other, name)}"
            for name in common
        ]
        return " AND ".join(pairs) or "TRUE"

    def _united(self, name: str) -> tuple[Shape, str]:
        self.features.add("union")
        assert self.other is not None
        operator = self.rng.choice(["UNION ALL", "UNION"])
        parts = [
            f"SELECT {self._number(alias, shape)} AS x FROM {quoted(shape.name)} AS {alias}"
            for alias, shape in (("l", self.main), ("r", self.other))
        ]
        return Shape(name, self.target, (("x", "number"),)), f" {operator} ".join(parts)

    # -- parts ---------------------------------------------------------------------------------

    def _from(self, shape: Shape) -> tuple[str, str]:
        """Return an alias and its FROM item: the input, or a subquery returning all columns."""
        where = f"{quoted(shape.name)} AS t"
        if self.read.grouped is not None:
            self.features.add("rows of a group")
            self._column("t", shape, "k")
            return "t", f"{where} JOIN knockon_partition USING (k)"
        if self.rng.random() < 0.3:
            self.features.add("subquery")
            condition = self._condition("s", shape)
            inner = f"SELECT * FROM {quoted(shape.name)} AS s WHERE {condition}"
            return "t", f"({inner}) AS t"
        return "t", where

    def _where(self, source: str) -> str:
        """Return a filter on the main input, by its own columns or by those of the other input."""
        if self.rng.random() < 0.45:
            return ""
        self.features.add("filter")
        if self.other is not None and "join" not in self.features:
            inner = f"SELECT FROM {quoted(self.other.name)} AS o"
            match = f"{self._number('o', self.other)} = {self._number(source, self.main)}"
            self.features.add("exists")
            return f" WHERE EXISTS ({inner} WHERE {match})"
        return f" WHERE {self._condition(source, self.main)}"

    def _condition(self, source: str, shape: Shape) -> str:
        number = self._number(source, shape)
        return self.rng.choice([f"{number} > {self.salt % 3}", f"{number} IS NOT NULL"])

    def _items(
        self, source: str, shape: Shape, max_numbers: int = 2
    ) -> tuple[list[str], list[tuple[str, str]]]:
        items, kinds = [], []
        if self._may_return_k(shape) and (self.read.grouped is not None or self.rng.random() < 0.6):
            self.features.add("k preserved")
            items.append(f"{self._column(source, shape, 'k')} AS k")
            kinds.append(("k", "text"))
        for name in ("x", "y")[: self.rng.randint(1, max_numbers)]:
            items.append(f"{self._number(source, shape)} AS {name}")
            kinds.append((name, "number"))
        return items, kinds

    def _aggregates(self, source: str) -> tuple[list[str], list[tuple[str, str]]]:
        calls = ["sum", "max", "min", "count", "rows", "filtered"]
        aggregates = [self._aggregate(source, call) for call in self.rng.sample(calls, 2)]
        names = ("x", "y")[: self.rng.randint(1, 2)]
        items = [f"{_small(text)} AS {name}" for name, text in zip(names, aggregates, strict=False)]
        return items, [(name, "number") for name in names]

    def _aggregate(self, source: str, call: str) -> str:
        if call == "rows":
            return "count(*)"
        number = self._number(source, self.main)
        if call == "filtered":
            return f"count(*) FILTER (WHERE {number} > {self.salt % 3})"
        return f"{call}({number})"

    def _number(self, source: str, shape: Shape) -> str:
        numbers = [self.only[shape.name]] if shape.name in self.only else shape.named("number")
        if not numbers:
            return str(1 + self.salt % 3)
        one = self._column(source, shape, self.rng.choice(numbers))
        chance = self.rng.random()
        if chance < 0.3:
            return one
        if chance < 0.5:
            return f"({one} + {self.salt % 5})"
        if chance < 0.7:
            other = self._column(source, shape, self.rng.choice(numbers))
            return f"coalesce({one}, {other}, 0)"
        if chance < 0.85:
            other = self._column(source, shape, self.rng.choice(numbers))
            return f"CASE WHEN {one} > {self.salt % 3} THEN {other} ELSE 0 END"
        if chance < 0.88:
            self.features.add("function")
            return f"{FUNCTION}({one})"
        return f"({one} % 2)"

    def _column(self, source: str, shape: Shape, column: str) -> str:
        self.names.setdefault(shape.name, set()).add(column)
        return f"{source}.{quoted(column)}"


def _small(number: str) -> str:
    """Keep aggregates in the range of integers, with frequent repetitions."""
    return f"CAST({number} % 5 AS integer)"


def written(seed: str, salt: int, target: Space, read: Read, inputs: Sequence[Shape]) -> Writer:
    """Return a writer; the same seed with another salt writes the same columns."""
    return Writer(Random(seed), salt, target, read, *inputs)
