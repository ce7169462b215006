"""Mappings as JSON data, as stored in DAG files and `lineage_edges`."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidMapping, InvalidPartition
from engine.partitions.dimension import Dimension, OrderedDimension
from engine.partitions.key_dimension import StaticDimension
from engine.partitions.mapping.infer import compatible
from engine.partitions.mapping.link import Link, Links
from engine.partitions.mapping.relation import KeyMap, Overlap, Relation, Same
from engine.partitions.space import PartitionSpace
from engine.partitions.time_dimension import TimeDimension

_ORDERED = "take the last key of a dimension of the kind time, range or static"
_FIELDS = ("from", "window", "unit", "map", "last")


@dataclass(frozen=True, slots=True)
class SpecReader:
    """Reader of specs between two spaces; `where` is the start of messages."""

    source: PartitionSpace
    target: PartitionSpace
    where: str

    def read(self, spec: Any) -> Links:
        """Return the links of a spec other than None; raises InvalidMapping."""
        if spec == "all":
            return Links()
        if spec == "last":
            return Links(latest=(self._last_of(None),))
        if spec == "identity":
            return Links(tuple(self._identity()))
        if isinstance(spec, MappingOf):
            return self._entries(spec)
        raise self._error(
            f"{spec!r} is not a mapping",
            'write "identity", "all", "last" or an object with an entry per output dimension',
        )

    def _identity(self) -> Iterator[Link]:
        names, targets = self.source.names, self.target.names
        is_single = len(names) == len(targets) == 1
        if not is_single and set(names) != set(targets):
            raise self._error(
                f"identity needs the same dimensions, not {names} and {targets}",
                "map them one by one",
            )
        for name in targets:
            origin = names[0] if is_single else name
            source, target = self.source[origin], self.target[name]
            if not _same_keys(source, target):
                raise self._error(
                    f"identity needs the same keys, not {source.to_spec()} and {target.to_spec()}",
                    f"map {name!r} from its input dimension instead",
                )
            yield self._link(origin, name, Same(source, target))

    def _entries(self, spec: MappingOf[str, Any]) -> Links:
        links: list[Link] = []
        latest: list[int] = []
        for name, entry in spec.items():
            if entry == "last" and name in self.source.names and name not in self.target.names:
                latest.append(self._last_entry(name, {"last": True}))
                continue
            target = self._find(self.target, name)
            if entry == "last":
                latest.append(self._last_of(name))
            elif isinstance(entry, MappingOf) and "last" in entry:
                latest.append(self._last_entry(name, entry))
            elif entry != "all":
                links.append(self._entry(name, target, entry))
        used = [link.source for link in links] + latest
        if len(set(used)) < len(used):
            raise self._error(
                f"{dict(spec)} uses an input dimension twice", "use each for one output dimension"
            )
        return Links(tuple(links), tuple(latest))

    def _entry(self, name: str, target: Dimension, entry: Any) -> Link:
        fields = {"from": entry} if isinstance(entry, str) else entry
        if not isinstance(fields, MappingOf) or not set(fields) <= set(_FIELDS):
            raise self._error(
                f"{name!r} has {entry!r}",
                'write "all", "last", an input dimension, or {"from": input dimension} with '
                '"window": [-6, 0], "map": {key: [keys]} or "last": true',
            )
        origin = fields.get("from", name)
        source = self._find(self.source, origin)
        return self._link(origin, name, self._relation(name, source, target, fields))

    def _relation(
        self, name: str, source: Dimension, target: Dimension, fields: MappingOf[str, Any]
    ) -> Relation:
        if "map" in fields:
            return self._key_map(name, source, target, fields)
        if isinstance(source, OrderedDimension) and isinstance(target, OrderedDimension):
            if source.kind == target.kind:
                return self._overlap(name, source, target, fields)
        elif {"window", "unit"} & fields.keys():
            raise self._error(f"{name!r} has no order", "remove window and unit")
        if compatible(source, target):
            return Same(source, target)
        raise self._error(
            f"{name!r} cannot be computed from {source.to_spec()}, which has another kind",
            'write "all", or a "map" if both sides have text keys',
        )

    def _overlap(
        self,
        name: str,
        source: OrderedDimension,
        target: OrderedDimension,
        fields: MappingOf[str, Any],
    ) -> Relation:
        unit = fields.get("unit", "output")
        if unit not in ("input", "output") or ("unit" in fields and "window" not in fields):
            raise self._error(
                f"{name!r} has the unit {unit!r}",
                "write input or output, together with a window such as [-6, 0]",
            )
        window = fields.get("window")
        first, last = (0, 0) if window is None else self._window(name, window)
        if first == last == 0 and _same_keys(source, target):
            return Same(source, target)
        return Overlap(source, target, first, last, unit == "input")

    def _window(self, name: str, window: Any) -> tuple[int, int]:
        pair = list(window) if isinstance(window, list | tuple) else []
        if [type(end) for end in pair] != [int, int] or pair[0] > pair[1]:
            raise self._error(
                f"{name!r} has the window {window!r}",
                "write first and last offset in output units, such as [-6, 0], or add unit: input",
            )
        return pair[0], pair[1]

    def _key_map(
        self, name: str, source: Dimension, target: Dimension, fields: MappingOf[str, Any]
    ) -> Relation:
        key_map = fields["map"]
        if not isinstance(key_map, MappingOf) or source.is_ordered or target.is_ordered:
            raise self._error(
                f"{name!r} has an invalid map",
                "write {key: [keys]} between static or dynamic dimensions",
            )
        if {"window", "unit"} & fields.keys():
            raise self._error(f"{name!r} has both a map and a window", "remove one")
        try:
            return KeyMap(source, target, dict(_pairs(source, target, key_map)))
        except InvalidPartition as error:
            raise self._error(f"the map of {name!r} is invalid", str(error)) from error

    def _last_entry(self, name: str, entry: MappingOf[str, Any]) -> int:
        origin = entry.get("from", name)
        if entry["last"] is not True or not entry.keys() <= {"from", "last"}:
            raise self._error(
                f"{name!r} has {dict(entry)!r}", f'write {{"from": {origin}, "last": true}}'
            )
        if not _has_order(self._find(self.source, origin)):
            raise self._error(f"the input dimension {origin!r} has no last key", _ORDERED)
        return self.source.index(origin)

    def _last_of(self, name: str | None) -> int:
        """Return the index of the dimension for `last`: of that name, or the only candidate."""
        source = self.source
        known = [n for n, dimension in source.dimensions if _has_order(dimension)]
        ordered = [n for n in known if source[n].is_ordered]
        times = [n for n in ordered if isinstance(source[n], TimeDimension)]
        lists = [n for n in known if not ordered and n == name]
        for candidates in ([n for n in ordered if n == name], ordered, times, lists, known):
            if len(candidates) == 1:
                return source.index(candidates[0])
        if not known:
            raise self._error(f"no dimension of the input {source.names} has a last key", _ORDERED)
        several = times or ordered or known
        entries = [self._last_form(origin, name) for origin in several]
        raise self._error(f"last could mean any of {several}", f"write {' or '.join(entries)}")

    def _last_form(self, origin: str, name: str | None) -> str:
        """Return the entry that selects the last key of an input dimension."""
        if name is None and origin not in self.target.names:
            return f"{{{origin}: last}}"
        return f"{{{name or origin}: {{from: {origin}, last: true}}}}"

    def _link(self, source: str, target: str, relation: Relation) -> Link:
        return Link(self.source.index(source), self.target.index(target), relation)

    def _find(self, space: PartitionSpace, name: Any) -> Dimension:
        if name not in space.names:
            side = "output" if space is self.target else "input"
            raise self._error(
                f"the {side} has no dimension {name!r}", f"its dimensions are {space.names}"
            )
        return space[name]

    def _error(self, problem: str, remedy: str) -> InvalidMapping:
        return InvalidMapping(f"{self.where}: {problem}; {remedy}")


def _has_order(dimension: Dimension) -> bool:
    return dimension.is_ordered or isinstance(dimension, StaticDimension)


def _same_keys(source: Dimension, target: Dimension) -> bool:
    if isinstance(source, OrderedDimension) and isinstance(target, OrderedDimension):
        return source.grid == target.grid
    return compatible(source, target)


def _pairs(
    source: Dimension, target: Dimension, key_map: MappingOf[str, Any]
) -> Iterator[tuple[str, frozenset[str]]]:
    for key, targets in key_map.items():
        target_keys = [targets] if isinstance(targets, str) else targets
        related = (target.value(text, "output key").key for text in target_keys)
        yield source.value(key, "input key").key, frozenset(related)
