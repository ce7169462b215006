"""Mappings between the partitions of two datasets: one relation a dimension, and their product.

`relation` has the ways in which keys meet; a `link` says between which dimensions, and a `mapping`
is all of them; `spec` reads it from the DAG file, and `infer` says it where both sides make it
obvious.
"""

from engine.partitions.mapping.infer import infer
from engine.partitions.mapping.mapping import Mapping

__all__ = ["Mapping", "infer"]
