"""Components of mappings."""

from __future__ import annotations

from dataclasses import dataclass

from engine.partitions.mapping.relation import Relation


@dataclass(frozen=True, slots=True)
class Link:
    """A relation between the dimensions at two indexes; a dimension has at most one link."""

    source: int
    target: int
    relation: Relation


@dataclass(frozen=True, slots=True)
class Links:
    """All links of a mapping.

    All keys of a source dimension without a link are needed, or only the last key if the index is
    in `latest`. All keys of a target dimension without a link are affected.
    """

    links: tuple[Link, ...] = ()
    latest: tuple[int, ...] = ()
