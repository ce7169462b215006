"""The sql operator: run SELECTs over inputs restricted to the partitions that a run may read.

`operator` runs the steps. `reads` and `predicates` compose the visible inputs, `follow` selects new
rows of a followed input, `probe` analyzes the SELECT, `output` creates the table, and `write` and
`whole` write one partition or all of them.
"""

from engine.worker.operators.sql.operator import Sql

__all__ = ["Sql"]
