"""Operations on the engine's state, each of them one transaction with its decisions and SQL.

The packages import each other in one direction: `deployment`, `planning`, `execution` and `shared`
from top to bottom, with `ingestion` above `shared` and used by `deployment` alone, and `retention`
above `shared`.
"""
