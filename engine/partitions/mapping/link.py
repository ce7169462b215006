"""What a mapping is made of."""

from __future__ import annotations

from dataclasses import dataclass

from engine.partitions.mapping.relation import Relation


@dataclass(frozen=True, slots=True)
class Link:
    """A relation between the dimensions at two indexes; a dimension has one link at most."""

    source: int
    target: int
    relation: Relation


@dataclass(frozen=True, slots=True)
class Links:
    """All of a mapping.

    Source dimensions without a link are needed whole, or their last key only if their index is in
    `latest`; target dimensions without a link are touched whole.
    """

    links: tuple[Link, ...] = ()
    latest: tuple[int, ...] = ()
