"""Mappings between the partitions of two datasets, as products of relations between dimensions.

`relation` defines the kinds of relations between keys. A `link` applies a relation to two
dimensions, and a `mapping` consists of links. `spec` reads mappings from the DAG file, and `infer`
derives obvious mappings.
"""

from engine.partitions.mapping.infer import infer
from engine.partitions.mapping.mapping import Mapping

__all__ = ["Mapping", "infer"]
