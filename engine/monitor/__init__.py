"""What a running process tells of itself: metrics, and whether it is alive and ready.

`metrics` is everything that is counted and timed, `pulse` the signs of life of its loops, `ledger`
the gauges that an engine reads from the database. `app` serves them over HTTP.
"""
