"""The sql operator: SELECTs whose inputs are cut to the partitions that a run may read.

`reads` and `predicates` compose what a SELECT sees, `probe` tries it, `output` makes the table,
`write` runs it for a partition and `whole` for all of them, `follow` is for jobs that go by new
rows, and `operator` is the order of it all.
"""

from engine.worker.operators.sql.operator import Sql

__all__ = ["Sql"]
